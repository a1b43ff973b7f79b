"""What a table of a board holds, whatever it is written in: columns, cells, the best and the second of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.boards.leaderboard import Board
from bench.boards.rows import CEILING, COSTS, PARTS, Row
from bench.tables.text import NONE, metric_name, short, signed

GROUPS = ("extractor", "model")
BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class View:
    """How a board is shown.

    Attributes
    ----------
    group_by
        Rows of one extractor or model stand together, the group with the best row first; "": by rank alone.
    pivot
        Extractors and fusions as rows, models as columns, one value of the board's metric each.
    """

    group_by: str = ""
    pivot: bool = False


@dataclass(frozen=True)
class Cell:
    """Text, not escaped, and whether it is the `best` or `second` of its column."""

    text: str
    place: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be written.

    Attributes
    ----------
    head
        Names of the columns.
    words
        How many columns, from the left, hold words; the others hold numbers.
    body
        Rows.
    breaks
        Positions in `body` before which a new group begins.
    marker
        What `bench verify-table` needs to make it again, as JSON in ASCII on one line.
    """

    head: list[str]
    words: int
    body: list[list[Cell]]
    breaks: tuple[int, ...]
    marker: str


def lay_out(board: Board, view: View) -> Table:
    """Fill the table of a board."""
    return _pivot(board, view) if view.pivot else _rows(board, view)


def marker(board: Board, view: View) -> str:
    """What a table carries as a comment: hash of its records, and how it was made from them."""
    content: dict[str, Any] = {"id": board.id, "metric": board.metric, "baseline": board.baseline, **asdict(view)}
    # a comment ends at --> in Markdown: no bracket may stand in it
    return json.dumps(content, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e")


def ordered(board: Board, view: View) -> list[tuple[int, Row]]:
    """Ranks and rows in the order of the view."""
    ranked = list(enumerate(board.rows, 1))
    if not view.group_by:
        return ranked
    first: dict[str, int] = {}
    for rank, row in ranked:
        first.setdefault(getattr(row, view.group_by), rank)
    return sorted(ranked, key=lambda at: (first[getattr(at[1], view.group_by)], at[0]))


def _rows(board: Board, view: View) -> Table:
    metric = metric_name(board.metric)
    rows = [row for _, row in ordered(board, view)]
    columns = {"#": [Cell(f"{rank}{' =' if row.tied else ''}") for rank, row in ordered(board, view)]}
    for name in ("model", "extractor", "fusion"):
        columns["features" if name == "extractor" else name] = [Cell(getattr(row, name)) for row in rows]
    for name in board.metrics:
        shown = [f"{row.mean[name]:.4f} [{row.low[name]:.4f}, {row.high[name]:.4f}]" for row in rows]
        places = _places([None if row.model == CEILING else row.mean[name] for row in rows])
        columns[f"{metric_name(name)} [95%]"] = [Cell(text, place) for text, place in zip(shown, places, strict=True)]
    columns["seed SD"] = [_number(row.seed_sd[board.metric]) for row in rows]
    columns[f"diff. to {board.baseline or 'id'} [95%]"] = [Cell(signed(row.difference)) for row in rows]
    columns["p (Holm)"] = [_p(row) for row in rows]
    if any(row.own for row in rows):
        columns["diff. to its id [95%]"] = [Cell(signed(row.own)) for row in rows]
    if any(row.twin for row in rows):
        columns["minus twin [95%]"] = [Cell(signed(row.twin)) for row in rows]
    for part in PARTS:
        columns[f"{metric} warm" if part == "warm" else part] = [_number(row.slices.get(part)) for row in rows]
    columns["covered"] = [Cell(NONE if row.coverage is None else f"{row.coverage:.0%}") for row in rows]
    for cost, name in COSTS.items():
        columns[name] = [_cost(row, cost) for row in rows]
    columns["checkpoints"] = [Cell(row.checkpoints or NONE) for row in rows]
    body = [list(cells) for cells in zip(*columns.values(), strict=True)]
    return Table(list(columns), 4, body, _breaks(rows, view.group_by), marker(board, view))


def _pivot(board: Board, view: View) -> Table:
    models = list(dict.fromkeys(row.model for row in board.rows))
    lines = list(dict.fromkeys((row.extractor, row.fusion) for row in board.rows))
    found: dict[tuple[str, str, str], Row] = {}
    for row in board.rows:  # best first: of rows that differ in options only, the best is shown
        found.setdefault((row.model, row.extractor, row.fusion), row)
    body = [[Cell(extractor), Cell(fusion)] for extractor, fusion in lines]
    for model in models:
        column = [found.get((model, *line)) for line in lines]
        values = [None if row is None or model == CEILING else row.mean[board.metric] for row in column]
        for cells, one, place in zip(body, column, _places(values), strict=True):
            mark = "" if one is None else f"{' *' if one.significant else ''}{' =' if one.tied else ''}"
            cells.append(Cell(NONE) if one is None else Cell(f"{one.mean[board.metric]:.4f}{mark}", place))
    return Table(["features", "fusion", *models], 2, body, (), marker(board, view))


def _places(values: Sequence[float | None]) -> list[str]:
    """`best` and `second` of a column; equal values share their place."""
    known = sorted({value for value in values if value is not None}, reverse=True)
    names = dict(zip(known, (BEST, SECOND), strict=False))
    return ["" if value is None else names.get(value, "") for value in values]


def _breaks(rows: Sequence[Row], group_by: str) -> tuple[int, ...]:
    if not group_by:
        return ()
    names = [getattr(row, group_by) for row in rows]
    return tuple(at for at in range(1, len(names)) if names[at] != names[at - 1])


def _number(value: float | None) -> Cell:
    return Cell(NONE if value is None else f"{value:.4f}")


def _p(row: Row) -> Cell:
    p = (row.difference or {}).get("p_holm")
    return Cell(NONE if p is None else f"{p:.3f}{' *' if row.significant else ''}")


def _cost(row: Row, cost: str) -> Cell:
    # a row without features has none to extract: that is no gap in the record
    if cost in ("extract", "bytes") and row.coverage is None and row.costs.get(cost) is None:
        return Cell(NONE)
    return Cell(short(row.costs.get(cost)))
