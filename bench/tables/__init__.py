"""Boards and comparisons as text: for a terminal, and in Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

from bench.tables.comparison import comparison, comparisons
from bench.tables.formats import FORMATS, render, render_all
from bench.tables.latex import document
from bench.tables.layout import SIMULATED, View
from bench.tables.terminal_table import terminal

__all__ = ["FORMATS", "SIMULATED", "View", "comparison", "comparisons", "document", "render", "render_all", "terminal"]
