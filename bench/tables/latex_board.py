"""Boards as LaTeX tables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.tables import columns, latex
from bench.tables.latex import TexCell
from bench.tables.layout import BEST, SECOND, Table, TableCell, View, lay_out, ordered, warnings
from bench.tables.numbers import NONE, metric_name
from bench.tables.verdicts import seeds_of
from protocols.wording import counted

_STYLES = {BEST: r"\textbf{%s}", SECOND: r"\underline{%s}", "": "%s"}
_WORDS = (*columns.WORDS, "notes", "checkpoints", "cell")
_MEANINGS = {
    "minus-id": "minus id: against the same model without features.",
    "minus-shuffled": "minus shuffled: against the same vectors on wrong items.",
    "cold-among-cold": "cold among cold: targets without events in the fitted rows, among such candidates.",
}


def latex_text(board: Board, view: View) -> str:
    r"""Write a board as a booktabs table with a caption, a label and its notes as comments.

    Without named columns it has the usual ones. Packages: array, booktabs and longtable.

    Raises
    ------
    UserError
        If the columns are wider than the page of a two-column paper.
    """
    if not (view.pivot or view.columns):
        shown = columns.used(board, columns.USUAL, [row for _, row in ordered(board, view)])
        view = replace(view, columns=tuple(shown) or ("row",))
    table = lay_out(board, view)
    if view.pivot:
        words = [at < table.words for at in range(len(table.head))]
        head, words, body, breaks = _panels(table.head, words, [[_cell(cell) for cell in row] for row in table.body])
    else:
        head, words, breaks = list(table.head), [name in _WORDS for name in view.columns], list(table.breaks)
        head = [name.removesuffix(" [95%]") for name in head]
        body = [[_cell(cell) for cell in row] for row in table.body]
    text = latex.table(
        head,
        words,
        body,
        caption=_caption(board, view, table),
        label=label(board, view),
        breaks=breaks,
        comments=[table.title, *table.headline, *table.notes],
    )
    return f"{latex.PREFIX}{table.marker}\n{text}"


def label(board: Board, view: View) -> str:
    """Name the table of a view of a board, without `tab:`."""
    kinds = ("-pivot" if view.pivot else "", f"-by-{view.group_by}" if view.group_by else "")
    return board.id + "".join(kinds) + (f"-best{view.rows}" if view.rows else "")


def _cell(cell: TableCell) -> TexCell:
    """Write a value without its leading zero, with half of its interval."""
    style = _STYLES[cell.place]
    if cell.text == NONE:
        return TexCell("--")
    if cell.span is None:
        return TexCell(re.sub(r"\b0(?=\.\d{4}\b)", "", cell.text), style=style)
    _, low, high = cell.span
    text = cell.text.partition(" [")[0]
    digits = len(text.rpartition(".")[2])
    margin = "" if math.isnan(low) or math.isnan(high) else _bare(f"{(high - low) / 2:.{digits}f}")
    return TexCell(_bare(text), margin, style)


def _bare(number: str) -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", number)


def _panels(
    head: Sequence[str], words: Sequence[bool], body: Sequence[Sequence[TexCell]]
) -> tuple[list[str], list[bool], list[list[TexCell]], list[int]]:
    """Put columns of numbers that do not fit beside each other below each other, in panels with heads of their own."""
    fixed = sum(words)
    numbers = len(head) - fixed
    if not numbers:
        return list(head), list(words), [list(row) for row in body], []
    for count in range(1, numbers + 1):
        size = math.ceil(numbers / count)
        kept = [[*range(fixed), *range(at, min(at + size, len(head)))] for at in range(fixed, len(head), size)]
        heads = [[head[at] for at in places] for places in kept]
        lines: list[list[TexCell]] = []
        breaks: list[int] = []
        for places, names in zip(kept, heads, strict=True):
            if lines:
                breaks += [len(lines), len(lines) + 1]
                lines.append([TexCell(name) for name in names])
            lines += [[row[at] for at in places] for row in body]
        wide = fixed + size
        padded = [[*line, *[TexCell("")] * (wide - len(line))] for line in lines]
        if latex.fit(heads[0], words[:wide], padded):
            break
    return heads[0], list(words[:wide]), padded, breaks


def _caption(board: Board, view: View, table: Table) -> str:
    """Say in short what stands in a table, and what must not be overlooked; comments say the rest."""
    rows = [row for _, row in ordered(board, view)]
    simulated = " (simulated data)" if board.simulated else ""
    shown = f"the {len(rows)} best of {counted(len(board.rows), 'row')}" if len(rows) < len(board.rows) else "all rows"
    said = [f"{board.facts['dataset']}{simulated}, {board.facts['protocol']}: {metric_name(board.metric)}, "]
    said[0] += f"{'extractors by recommenders' if view.pivot else shown} ({seeds_of(board)})."
    said += _marks(board, view, table, rows)
    if any("pocket" in row.checkpoints for row in rows):
        said.append("pocket: small checkpoints trained from scratch for this demo.")
    if board.simulated:
        said.append("No evidence about real extractors.")
    said += [line for line in table.headline if line.startswith("Users: a SAMPLE")]
    said += [line for line in warnings(board) if not line.startswith("not ranked")]
    if board.unranked:
        said.append(f"Further rows, not ranked: {len(board.unranked)}.")
    return " ".join(said)


def _marks(board: Board, view: View, table: Table, rows: Sequence[BoardRow]) -> list[str]:
    said = []
    if any(cell.span for row in table.body for cell in row):
        over = ", over users" if board.these_seeds_only else ""
        said.append(f"Small: half of a 95% interval{over}.")
    if any(cell.place for row in table.body for cell in row):
        said.append("Bold: best; underlined: second; ceilings left out.")
    said += [meaning for name, meaning in _MEANINGS.items() if name in view.columns]
    marks = columns.legend(board, rows) if "notes" in view.columns else ""
    if view.pivot:
        mean = {"*": any(row.significant for row in rows), "=": any(row.tied for row in rows)}
        legend = {"*": columns.LEGEND["*"], "=": columns.LEGEND["= best"]}
        marks = "; ".join(f"{mark}: {legend[mark]}" for mark, there in mean.items() if there)
    return [*said, f"{marks}."] if marks else said
