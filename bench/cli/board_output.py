"""Boards on standard output: a table on a terminal, Markdown elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace

import click

from bench import console, tables
from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.tables import columns
from bench.tables.terminal_table import ROWS


def show(
    boards: Sequence[Board],
    form: str | None,
    view: tables.View,
    wide: bool = False,
    most: int | None = None,
    standalone: bool = False,
    asked: BoardRow | None = None,
) -> None:
    """Print boards.

    Parameters
    ----------
    boards
        What is shown.
    form
        One of `bench.tables.FORMATS`, `table` or `markdown`; None: `table` on a terminal for boards by rank, else
        `markdown`.
    view
        As in `bench.tables.render`, without `rows`.
    standalone
        In LaTeX a whole document of all boards.
    wide
        In a table all usual columns, however wide.
    most
        Rows of each board, best first, 0: all; None: `ROWS` on a terminal, else all.
    asked
        Row that the verdict is about.
    """
    on_terminal = console.is_terminal(sys.stdout)
    by_rank = not (view.pivot or view.group_by)
    view = replace(view, rows=most or 0)
    form = form or ("table" if on_terminal and by_rank else "markdown")
    if form != "table":
        form = "md" if form == "markdown" else form
        click.echo(tables.render_all(boards, form, view, standalone))
        return
    width = shutil.get_terminal_size().columns
    names = view.columns or (columns.USUAL if wide else ())
    most = ROWS if most is None else most
    texts = [tables.terminal(board, width, names, asked, most, on_terminal) for board in boards]
    console.write_styled("\n\n".join(texts) + "\n")
