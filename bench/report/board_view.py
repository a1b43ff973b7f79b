"""Content of the page of a board, ready for its template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import METRICS, PRIMARY, Board
from bench.boards.rows import CEILING, COSTS, BoardRow
from bench.report import figures, layers
from bench.report.figures import Figure
from bench.report.text import NONE, names, number, printable, short
from bench.tables.layout import among_cold, headline, notes
from bench.tables.numbers import p_value, rank_range

_COSTS = {
    "extract": "Seconds of extraction an item",
    "bytes": "Stored for an item",
    "train": "Seconds of training",
    "parameters": "Trained parameters",
    "memory": "Largest resident memory of a process",
}


@dataclass(frozen=True)
class HtmlCell:
    """Cell of the table: text, value to sort by, second line, and a mark on the best of the column."""

    text: str
    value: float | str | None = None
    more: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """Row of the table and the page of its run."""

    row: BoardRow
    page: str
    cells: list[HtmlCell]


@dataclass(frozen=True)
class Column:
    """Column: its head, and its meaning in a sentence."""

    title: str
    help: str
    cell: Callable[[BoardRow], HtmlCell]


@dataclass(frozen=True)
class BoardView:
    """Content of a board's page.

    Attributes
    ----------
    board, runs
        The board and, by cell id, the runs of its rows.
    page
        File name.
    lines, columns, choices
        The table; and the choices of its filters, by column.
    headline, notes
        Lines above and below the table.
    facts
        Facts that all rows share.
    figures
        Pictures.
    leanings
        Runs whose page tells which clips lean on early and on late layers.
    """

    board: Board
    runs: dict[str, CellResults]
    page: str
    lines: list[Line]
    columns: list[Column]
    choices: dict[str, list[str]]
    headline: list[str]
    notes: list[str]
    facts: list[tuple[str, str]]
    figures: list[Figure]
    leanings: list[dict[str, str]]


def make(
    board: Board, runs: dict[str, CellResults], page: str, page_of: Callable[[str], str], explained: set[str]
) -> BoardView:
    """Prepare a board.

    Parameters
    ----------
    runs
        By cell id.
    page, page_of
        File name of the board, and of the run of a cell.
    explained
        Cells of which the weights of each item are known.
    """
    rows = [*board.rows, *board.unranked]
    columns = _columns()
    labels = dict(zip((row.cell for row in rows), names(rows), strict=True))
    lines = []
    for rank, row in enumerate(rows, 1):
        cells = [HtmlCell(str(rank), rank, rank_range(row)) if not row.reason else HtmlCell(NONE)]
        cells.append(HtmlCell(printable(labels[row.cell]), printable(labels[row.cell])))
        cells += [HtmlCell(NONE) if row.reason else column.cell(row) for column in columns]
        lines.append(Line(row, page_of(row.cell), cells))
    pictures = figures.of_board(board, runs)
    pictures += [one for one in (layers.curve(board, runs), layers.of_board(board, runs)) if one is not None]
    return BoardView(
        board,
        runs,
        page,
        _with_best(lines, first=2),
        [
            Column("#", "Rank by nDCG@10; 95% interval", _no_cell),
            Column("run", "Model, features, fusion", _no_cell),
            *columns,
        ],
        {key: sorted({getattr(row, key) for row in rows}) for key in ("model", "extractor", "fusion")},
        headline(board),
        notes(board),
        _facts(board),
        pictures,
        [{"label": labels[row.cell], "page": page_of(row.cell)} for row in board.rows if row.cell in explained],
    )


def _no_cell(row: BoardRow) -> HtmlCell:
    return HtmlCell(NONE)


def _columns() -> list[Column]:
    metric_names = {"hr@10": "HR@10", "ndcg@10": "nDCG@10"}
    columns = [
        Column(metric_names[metric], "Mean over users, folds, seeds; 95% interval", _metric(metric))
        for metric in sorted(METRICS, key=lambda m: m != PRIMARY)
    ]
    return [
        *columns,
        Column("difference", "nDCG@10 minus the baseline's, named below the table", _delta("delta_vs_baseline")),
        Column("p (Holm)", "t over users and seeds, corrected for the board", _p),
        Column(
            "diff. to shuffled",
            "nDCG@10 minus that of its vectors on the wrong items",
            _delta("delta_vs_shuffled"),
        ),
        Column("warm", "nDCG@10 of warm targets among warm candidates", _part("warm")),
        Column("cold", "nDCG@10 of cold targets among all candidates", _part("cold")),
        Column("cold among cold", "nDCG@10 of cold targets among cold candidates; 95% interval; users", _among_cold),
        Column("seed SD", "Standard deviation of nDCG@10 between seeds", _seed_sd),
        Column("covered", "Share of items with a feature of their own", _covered),
        *(Column(COSTS[key], text, _cost(key)) for key, text in _COSTS.items()),
        Column(
            "checkpoints",
            "Of the extractor's models",
            lambda row: HtmlCell(printable(row.checkpoints) or NONE, row.checkpoints),
        ),
    ]


def _metric(metric: str) -> Callable[[BoardRow], HtmlCell]:
    def cell(row: BoardRow) -> HtmlCell:
        return HtmlCell(
            number(row.mean[metric]) + (" =" if row.tied and metric == PRIMARY else ""),
            row.mean[metric],
            f"[{number(row.low[metric])}, {number(row.high[metric])}]",
        )

    return cell


def _delta(field: str) -> Callable[[BoardRow], HtmlCell]:
    """Column of the differences to the baseline or to the shuffled control."""

    def cell(row: BoardRow) -> HtmlCell:
        d = getattr(row, field)
        if d is None:
            return HtmlCell(NONE)
        interval = f"[{number(d['low'], sign=True)}, {number(d['high'], sign=True)}]"
        return HtmlCell(number(d["value"], sign=True), d["value"], interval)

    return cell


def _p(row: BoardRow) -> HtmlCell:
    p = (row.delta_vs_baseline or {}).get("p_holm")
    return HtmlCell(NONE) if p is None else HtmlCell(f"{p_value(p)}{' *' if row.significant else ''}", p)


def _part(part: str) -> Callable[[BoardRow], HtmlCell]:
    return lambda row: HtmlCell(number(row.slices.get(part)), row.slices.get(part))


def _among_cold(row: BoardRow) -> HtmlCell:
    value = row.slices.get("cold_among_cold")
    return HtmlCell(number(value), value, among_cold(row).partition(" ")[2])


def _seed_sd(row: BoardRow) -> HtmlCell:
    return HtmlCell(number(row.seed_sd.get(PRIMARY)), row.seed_sd.get(PRIMARY))


def _covered(row: BoardRow) -> HtmlCell:
    return HtmlCell(NONE if row.coverage is None else f"{row.coverage:.0%}", row.coverage)


def _cost(key: str) -> Callable[[BoardRow], HtmlCell]:
    return lambda row: HtmlCell(short(row.costs.get(key)), row.costs.get(key))


def _with_best(lines: list[Line], first: int) -> list[Line]:
    """Mark the best of the metric columns, the first ones after `first` cells; the ceiling is no competitor."""
    for at in range(first, first + len(METRICS)):
        among = [line for line in lines if line.row.model != CEILING]
        best = max((v for line in among if isinstance(v := line.cells[at].value, float)), default=None)
        for line in among:
            if best is not None and line.cells[at].value == best:
                line.cells[at] = replace(line.cells[at], best=True)
    return lines


def _facts(board: Board) -> list[tuple[str, str]]:
    facts = board.facts
    borders = [str(fold.get("border", ""))[:10] for fold in facts["fold_info"]]
    return [
        ("Test windows begin", ", ".join(filter(None, borders)) or NONE),
        ("Data", facts["dataset_fingerprint"] or NONE),
        ("Board", board.fingerprint),
        ("Table", board.id),
        ("Commits", ", ".join(f"{commit} ({count})" for commit, count in facts["commits"].items())),
    ]
