"""What the page of a board shows, ready for its template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.boards.leaderboard import METRICS, PRIMARY, Board, Row
from bench.boards.lookup import Run
from bench.boards.rows import CEILING, COSTS
from bench.report import figures, layers
from bench.report.figures import Figure
from bench.report.text import NONE, names, number, printable, short
from bench.tables.text import headline, notes

_COSTS = {
    "extract": "Seconds of extraction an item",
    "bytes": "Stored for an item",
    "train": "Seconds of training",
    "parameters": "Trained parameters",
    "memory": "Largest resident memory of a process",
}


@dataclass(frozen=True)
class Cell:
    """One cell of the table: what it says, what it sorts by, a second line, and whether it is the column's best."""

    text: str
    value: float | str | None = None
    more: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """One row of the table and the page of its run."""

    row: Row
    page: str
    cells: list[Cell]


@dataclass(frozen=True)
class Column:
    """A column: its head, and what it is in a sentence."""

    title: str
    help: str
    cell: Callable[[Row], Cell]


@dataclass(frozen=True)
class BoardView:
    """All of a board's page.

    Attributes
    ----------
    board, runs
        The board and, by cell id, the runs of its rows.
    page
        File name.
    lines, columns, choices
        The table; and what its filters offer, by column.
    headline, notes
        Lines above and below the table.
    facts
        What all rows share.
    figures
        Pictures.
    leanings
        Runs whose page tells which clips lean on early and on late layers.
    """

    board: Board
    runs: dict[str, Run]
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
    board: Board, runs: dict[str, Run], page: str, page_of: Callable[[str], str], explained: set[str]
) -> BoardView:
    """Prepare a board.

    Parameters
    ----------
    runs
        By cell id.
    page, page_of
        File name of the board, and of the run of a cell.
    explained
        Cells of which it is known what their experts make of each item.
    """
    rows = [*board.rows, *board.unranked]
    columns = _columns()
    labels = dict(zip((row.cell for row in rows), names(rows), strict=True))
    lines = []
    for rank, row in enumerate(rows, 1):
        cells = [Cell(str(rank), rank) if not row.reason else Cell(NONE)]
        cells.append(Cell(printable(labels[row.cell]), printable(labels[row.cell])))
        cells += [Cell(NONE) if row.reason else column.cell(row) for column in columns]
        lines.append(Line(row, page_of(row.cell), cells))
    pictures = figures.of_board(board, runs)
    pictures += [one for one in (layers.curve(board, runs), layers.of_board(board, runs)) if one is not None]
    return BoardView(
        board,
        runs,
        page,
        _with_best(lines, first=2),
        [Column("#", "Rank by nDCG@10", _no_cell), Column("run", "Model, features, fusion", _no_cell), *columns],
        {key: sorted({getattr(row, key) for row in rows}) for key in ("model", "extractor", "fusion")},
        headline(board),
        notes(board),
        _facts(board),
        pictures,
        [{"label": labels[row.cell], "page": page_of(row.cell)} for row in board.rows if row.cell in explained],
    )


def _no_cell(row: Row) -> Cell:
    return Cell(NONE)


def _columns() -> list[Column]:
    metric_names = {"hr@10": "HR@10", "ndcg@10": "nDCG@10"}
    columns = [
        Column(metric_names[metric], "Mean over users, folds, seeds; 95% interval", _metric(metric))
        for metric in sorted(METRICS, key=lambda m: m != PRIMARY)
    ]
    return [
        *columns,
        Column("difference", "nDCG@10 minus the baseline's, named below the table", _against("difference")),
        Column("p (Holm)", "Sign flips over users, corrected for the board", _p),
        Column("minus twin", "nDCG@10 minus that of the same vectors on the wrong items", _against("twin")),
        Column("warm", "nDCG@10 of warm targets among warm candidates", _part("warm")),
        Column("cold", "nDCG@10 of cold targets among all candidates", _part("cold")),
        Column("seed SD", "Standard deviation of nDCG@10 between seeds", _seed_sd),
        Column("covered", "Share of items with a feature of their own", _covered),
        *(Column(COSTS[key], told, _cost(key)) for key, told in _COSTS.items()),
        Column(
            "checkpoints",
            "Of the extractor's models",
            lambda row: Cell(printable(row.checkpoints) or NONE, row.checkpoints),
        ),
    ]


def _metric(metric: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        return Cell(
            number(row.mean[metric]) + (" =" if row.tied and metric == PRIMARY else ""),
            row.mean[metric],
            f"[{number(row.low[metric])}, {number(row.high[metric])}]",
        )

    return cell


def _against(other: str) -> Callable[[Row], Cell]:
    """Difference of a row to the baseline or to its twin."""

    def cell(row: Row) -> Cell:
        d = getattr(row, other)
        if d is None:
            return Cell(NONE)
        interval = f"[{number(d['low'], sign=True)}, {number(d['high'], sign=True)}]"
        return Cell(number(d["value"], sign=True), d["value"], interval)

    return cell


def _p(row: Row) -> Cell:
    p = (row.difference or {}).get("p_holm")
    return Cell(NONE) if p is None else Cell(f"{p:.3f}{' *' if row.significant else ''}", p)


def _part(part: str) -> Callable[[Row], Cell]:
    return lambda row: Cell(number(row.slices.get(part)), row.slices.get(part))


def _seed_sd(row: Row) -> Cell:
    return Cell(number(row.seed_sd.get(PRIMARY)), row.seed_sd.get(PRIMARY))


def _covered(row: Row) -> Cell:
    return Cell(NONE if row.coverage is None else f"{row.coverage:.0%}", row.coverage)


def _cost(key: str) -> Callable[[Row], Cell]:
    return lambda row: Cell(short(row.costs.get(key)), row.costs.get(key))


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
