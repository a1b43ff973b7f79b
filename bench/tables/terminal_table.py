"""A board on a terminal: a table that fits the width, what speaks against it, and the verdict."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.console import printable
from bench.tables import columns, verdicts
from bench.tables.layout import headline, title, warnings
from protocols.wording import counted

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: Rows shown where no other number is asked for.
ROWS = 25
# Columns that go first where the usual ones do not fit, in this order.
_LEAST = ("cold-among-cold", "ranks", "notes")
_STYLES = {"above": "green", "below": "red", "holds": ""}


def terminal(
    board: Board,
    width: int,
    names: Sequence[str] = (),
    asked: BoardRow | None = None,
    most: int = ROWS,
    colour: bool = True,
) -> str:
    """Write a board for a terminal.

    Parameters
    ----------
    board
        What is shown.
    width
        Characters of a line; tables of named columns may be wider.
    names
        Names of `bench.tables.columns.COLUMNS`; none: the usual ones, as many as fit.
    asked
        Row that the verdict is about; None: see `bench.tables.verdicts.main_row`.
    most
        Rows shown; 0: all.
    colour
        With escape sequences.
    """
    from rich.console import Console
    from rich.text import Text

    rows = board.rows[: most or None]
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False, emoji=False
    )
    table, left_out = _fitting(board, rows, names, width)
    console.print(Text(title(board), style="bold"))
    for line in headline(board):
        console.print(Text(printable(line), style="dim"))
    if rows:
        # a table of named columns keeps its width: the terminal may scroll or cut it
        Console(
            file=out, width=max(width, _width(table)) if names else width, force_terminal=colour, no_color=not colour
        ).print(table)
    for line in _below(board, rows, left_out):
        console.print(Text(printable(line), style="dim"))
    for line in warnings(board):
        console.print(Text(printable(line), style="yellow"))
    for line in verdicts.verdict(board, asked):
        console.print(Text(printable(line), style="bold"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _below(board: Board, rows: Sequence[BoardRow], left_out: Sequence[str]) -> list[str]:
    found = [f"{counted(len(board.rows) - len(rows), 'more row')}: --rows 0"] if len(rows) < len(board.rows) else []
    if left_out:
        names = ", ".join(columns.headings(board, left_out))
        found.append(f"Not shown, for want of width: {names}; --wide shows all, --columns chooses.")
    marks = columns.legend(board, rows)
    return [*found, f"{marks} (--format markdown: why)"] if marks else found


def _fitting(board: Board, rows: Sequence[BoardRow], names: Sequence[str], width: int) -> tuple[Table, list[str]]:
    """Make the widest table that fits, intervals under their values where they do not fit beside; what is left out."""
    if names:
        return _table(board, rows, names, level=0), []
    shown = columns.used(board, columns.USUAL, rows) or ["row"]
    left_out: list[str] = []
    for least in ("", *_LEAST):
        if least in shown:
            shown.remove(least)
            left_out.append(least)
        for level in (0, 1, 2):
            table = _table(board, rows, shown, level)
            if _width(table) <= width:
                return table, left_out
    return table, left_out


def _width(table: Table) -> int:
    from rich.console import Console

    return Console(width=10_000).measure(table).maximum


def _table(board: Board, rows: Sequence[BoardRow], names: Sequence[str], level: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=0, collapse_padding=True, pad_edge=False, show_edge=False)
    heads, body = columns.table(board, names, rows)
    for name, head in zip(names, heads, strict=True):
        words = name in columns.WORDS or name in ("notes", "checkpoints")
        table.add_column(Text(_fold(head, level)), justify="left" if words else "right", no_wrap=not level)
    for row, texts in zip(rows, body, strict=True):
        short = (
            text.replace("0.", ".") if name in ("score", "hr") else text
            for name, text in zip(names, texts, strict=True)
        )
        cells = [_cell(board, row, name, _fold(text, level)) for name, text in zip(names, short, strict=True)]
        table.add_row(*cells, style="dim" if verdicts.is_control(row) else "")
    return table


def _fold(text: str, level: int) -> str:
    """Put an interval, and the features of a row, on lines of their own; on level 2 the fusion of a row too."""
    if not level:
        return text
    value, bracket, span = text.partition(" [")
    if bracket:
        return f"{value}\n[{span.replace(', ', ',')}"
    return text.replace(" ", "\n", 1 if level == 1 else -1)


def _cell(board: Board, row: BoardRow, name: str, text: str) -> Text:
    from rich.text import Text

    shown = "\n".join(map(printable, text.split("\n")))
    if name == "score" and row is board.best:
        return Text(shown, style="bold")
    if name in columns.SIGNED:
        both = {"minus-id": verdicts.minus_id(board, row), "minus-shuffled": row.delta_vs_shuffled}
        difference = both.get(name, row.delta_vs_baseline)
        return Text(shown, style=_STYLES[verdicts.side(difference)] if difference else "")
    return Text(shown)
