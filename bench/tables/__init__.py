"""Boards and comparisons as text: Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

from bench.boards.leaderboard import Board
from bench.tables.comparison import comparison
from bench.tables.latex import latex_text
from bench.tables.layout import View
from bench.tables.plain import csv_text, html, markdown
from bench.tables.text import SIMULATED

__all__ = ["FORMATS", "SIMULATED", "View", "comparison", "render"]

FORMATS = ("md", "latex", "csv", "html")


def render(board: Board, form: str, view: View | None = None, standalone: bool = False) -> str:
    """Write a board as `md`, `latex`, `csv` or `html`.

    Parameters
    ----------
    board
        What is shown.
    form
        One of `FORMATS`.
    view
        Grouped, or pivoted; None: by rank.
    standalone
        In LaTeX a whole document.

    Returns
    -------
    str
        The table with the lines that a reader needs to judge it: what was simulated, users per fold, seeds, rows
        that are not ranked and why. CSV holds the rows alone.
    """
    view = view or View()
    if form == "latex":
        return latex_text(board, view, standalone)
    return {"md": markdown, "csv": csv_text, "html": html}[form](board, view)
