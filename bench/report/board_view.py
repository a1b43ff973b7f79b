"""Content of the page of a board, ready for its template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import METRICS, PRIMARY, Board
from bench.boards.rows import CEILING, COSTS, EXPENSES, BoardRow
from bench.report import board_charts, layers
from bench.report.board_charts import labelled
from bench.report.charts import Chart
from bench.report.text import NONE, number, printable, short
from bench.tables import verdicts
from bench.tables.layout import among_cold, headline, notes
from bench.tables.numbers import p_value

_COSTS = {
    "extract": "Seconds of extraction an item",
    "bytes": "Stored for an item",
    "train": "Seconds of training",
    "parameters": "Trained parameters",
    "memory": "Largest resident memory of a process",
}
_USUAL_COSTS = ("extract", "train")


@dataclass(frozen=True)
class HtmlCell:
    """Cell of the table: text, value to sort by, second line, and a mark on the best of the column."""

    text: str
    value: float | str | None = None
    more: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """Row of the table, its name, and True for a control."""

    row: BoardRow
    label: str
    control: bool
    cells: list[HtmlCell]


@dataclass(frozen=True)
class Column:
    """Column of the table.

    Attributes
    ----------
    name
        Short, as URLs have it.
    title, help
        Its head, and its meaning in a sentence.
    cell
        Makes the cell of a ranked row.
    less
        Less is better: the first click sorts upwards.
    usual
        Shown before the reader chooses.
    words
        Of words, not of numbers: rows that are not ranked have it too.
    """

    name: str
    title: str
    help: str
    cell: Callable[[BoardRow], HtmlCell]
    less: bool = False
    usual: bool = False
    words: bool = False


@dataclass(frozen=True)
class BoardView:
    """Content of a board's page.

    Attributes
    ----------
    board, runs
        The board and, by cell id, the runs of its rows.
    name, page
        Of its files, and of its page.
    title
        Dataset, protocol, and what tells it from other boards of the two.
    lines, columns, choices
        The table; and the choices of its filters, by column.
    headline, verdict, notes
        Lines above and below the table.
    facts
        Facts that all rows share.
    charts
        Charts.
    leanings
        Runs whose page tells which clips lean on early and on late layers.
    """

    board: Board
    runs: dict[str, CellResults]
    name: str
    page: str
    title: str
    lines: list[Line]
    columns: list[Column]
    choices: dict[str, list[str]]
    headline: list[str]
    verdict: list[str]
    notes: list[str]
    facts: list[tuple[str, str]]
    charts: list[Chart]
    leanings: list[dict[str, str]]

    @property
    def warnings(self) -> list[str]:
        """Notes that open in capitals."""
        return [note for note in self.notes if note[:5].isupper()]

    def page_of(self, cell: str) -> str:
        """Return the file name of the page of a run."""
        return f"run-{self.name}-{cell}.html"


def make(
    board: Board, runs: dict[str, CellResults], name: str, page: str, differs: str, explained: set[str]
) -> BoardView:
    """Prepare a board.

    Parameters
    ----------
    runs
        By cell id.
    name, page
        Name of its files, and file name of its page.
    differs
        What tells it from other boards of the same dataset and protocol; "" where there is none.
    explained
        Cells of which the weights of each item are known.
    """
    rows = [*board.rows, *board.unranked]
    columns = [_usual(column, board.rows) for column in _columns(board)]
    lines = [_line(rank, row, label, columns) for rank, (row, label) in enumerate(labelled(rows), 1)]
    drawn = board_charts.of_board(board, runs)
    drawn += [one for one in (layers.curve(board, runs), layers.of_board(board, runs)) if one is not None]
    about = f"{board.facts['dataset']}, {board.facts['protocol']}"
    return BoardView(
        board,
        runs,
        name,
        page,
        printable(f"{about}: {differs}" if differs else about),
        _with_best(lines, [at for at, column in enumerate(columns) if column.name in METRICS]),
        columns,
        {key: sorted({printable(getattr(row, key)) for row in rows}) for key in ("model", "extractor", "fusion")},
        headline(board),
        verdicts.verdict(board),
        notes(board),
        _facts(board),
        drawn,
        [{"label": label, "cell": row.cell} for row, label in labelled(board.rows) if row.cell in explained],
    )


def _usual(column: Column, rows: Sequence[BoardRow]) -> Column:
    """Leave a column that says nothing of any row to the reader's choice."""
    silent = column.cell is not _no_cell and not any(column.cell(row).value is not None for row in rows)
    return replace(column, usual=False) if silent else column


def _line(rank: int, row: BoardRow, label: str, columns: Sequence[Column]) -> Line:
    """Make a row of the table: rank and name first."""
    low, high = row.rank_interval or (rank, rank)
    # an interval that is the rank itself would read as the rank twice
    first = (
        HtmlCell(NONE) if row.reason else HtmlCell(str(rank), rank, f"[{low}, {high}]" if {low, high} != {rank} else "")
    )
    values = [HtmlCell(NONE) if row.reason and not column.words else column.cell(row) for column in columns[2:]]
    return Line(row, label, verdicts.is_control(row), [first, HtmlCell(label, label), *values])


def _no_cell(row: BoardRow) -> HtmlCell:
    return HtmlCell(NONE)


def _columns(board: Board) -> list[Column]:
    of = "nDCG@10"
    interval = "mean over users, folds, seeds; 95% interval"
    spread = "nDCG@10 minus that of"
    return [
        Column("rank", "rank", f"Rank by {of}; 95% interval", _no_cell, less=True, usual=True),
        Column("row", "row", "Model, features, fusion", _no_cell, less=True, usual=True, words=True),
        *(
            Column(name, title, f"{title.capitalize()} of the row", _word(name), less=True, words=True)
            for name, title in (("model", "model"), ("extractor", "features"), ("fusion", "fusion"))
        ),
        Column(PRIMARY, of, f"{of}: {interval}", _metric(PRIMARY), usual=True),
        Column("hr@10", "HR@10", f"HR@10: {interval}", _metric("hr@10"), usual=True),
        Column(
            "minus-shuffled", "minus shuffled", f"{spread} its vectors on the wrong items",
            _delta(lambda row: row.delta_vs_shuffled), usual=True,
        ),
        Column(
            "minus-id", "minus id", f"{spread} the same model without features",
            _delta(lambda row: verdicts.minus_id(board, row)), usual=True,
        ),
        Column(
            "minus-baseline", "minus baseline", f"{spread} the baseline, which stands below the table",
            _delta(lambda row: row.delta_vs_baseline),
        ),
        Column("p", "p (Holm)", "Of minus baseline: t over users and seeds, corrected for the board", _p, less=True),
        Column("warm", "warm", f"{of} of warm targets among warm candidates", _part("warm"), usual=True),
        Column("cold", "cold", f"{of} of cold targets among all candidates", _part("cold")),
        Column(
            "cold-among-cold", "cold among cold", f"{of} of cold targets among cold candidates; 95% interval; users",
            _among_cold, usual=True,
        ),
        Column("seed-sd", "seed SD", f"Standard deviation of {of} between seeds", _seed_sd, less=True),
        Column("covered", "covered", "Share of items with a feature of their own", _covered),
        *(
            Column(key, title, _COSTS.get(key, title), _cost(key), less=True, usual=key in _USUAL_COSTS)
            for key, title in {**COSTS, **EXPENSES}.items()
            if key in COSTS or any(row.costs.get(key) is not None for row in board.rows)
        ),
        Column(
            "checkpoints", "checkpoints", "Of the extractor's models",
            lambda row: HtmlCell(printable(row.checkpoints) or NONE, printable(row.checkpoints)),
            less=True, words=True,
        ),
    ]  # fmt: skip


def _word(name: str) -> Callable[[BoardRow], HtmlCell]:
    return lambda row: HtmlCell(printable(getattr(row, name)), printable(getattr(row, name)))


def _metric(metric: str) -> Callable[[BoardRow], HtmlCell]:
    def cell(row: BoardRow) -> HtmlCell:
        return HtmlCell(
            number(row.mean[metric]) + (" =" if row.tied and metric == PRIMARY else ""),
            row.mean[metric],
            f"[{number(row.low[metric])}, {number(row.high[metric])}]",
        )

    return cell


def _delta(of: Callable[[BoardRow], dict[str, float] | None]) -> Callable[[BoardRow], HtmlCell]:
    """Column of a difference with its interval."""

    def cell(row: BoardRow) -> HtmlCell:
        d = of(row)
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


def _with_best(lines: list[Line], columns: Sequence[int]) -> list[Line]:
    """Mark the best of some columns; the ceiling is no competitor."""
    among = [line for line in lines if line.row.model != CEILING]
    for at in columns:
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
