"""Boards as Markdown and HTML; `render` for any format."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from bench.boards.leaderboard import Board
from bench.console import clean
from bench.tables.csv_text import csv_text
from bench.tables.latex import document
from bench.tables.latex_board import latex_text
from bench.tables.layout import BEST, SECOND, View, lay_out
from bench.tables.numbers import metric_name
from protocols.wording import counted

FORMATS = ("md", "latex", "csv", "html")
PREFIX, SUFFIX = "<!-- bench-table ", " -->"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th:nth-child(-n+{{ tables[0].words }}), td:nth-child(-n+{{ tables[0].words }}) { text-align: left; }
thead th, tr.group td { border-bottom: 1px solid; }
.scroll { overflow-x: auto; }
</style></head><body>
{% for table in tables %}<section>
{{ marker(table) }}
<h1>{{ table.title }}</h1>
{% for line in table.headline %}<p>{{ line }}</p>
{% endfor %}<div class="scroll" tabindex="0"><table>
<thead><tr>{% for name in table.head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.body %}<tr{% if loop.index in table.breaks %} class="group"{% endif %}>{% for cell in row -%}
<td>{% if cell.place == best %}<b>{{ cell.text }}</b>{% elif cell.place == second %}<u>{{ cell.text }}</u>
{%- else %}{{ cell.text }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}</tbody></table></div>
{% for line in table.notes %}<p>{{ line }}</p>
{% endfor %}<p>Table {{ ids[loop.index0] }}</p>
</section>
{% endfor %}</body></html>
"""


def render(board: Board, form: str, view: View | None = None, standalone: bool = False) -> str:
    """Write a board as `md`, `latex`, `csv` or `html`, see `render_all`."""
    return render_all([board], form, view, standalone)


def render_all(boards: Sequence[Board], form: str, view: View | None = None, standalone: bool = False) -> str:
    """Write boards as `md`, `latex`, `csv` or `html`; CSV and HTML are one table, and one page, of them all.

    Parameters
    ----------
    boards
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
        The tables with the lines that a reader needs to judge them: what was simulated, users per fold, seeds, rows
        that are not ranked and why. CSV holds the rows alone.
    """
    view = view or View()
    if form == "latex":
        texts = [latex_text(board, view) for board in boards]
        return document(texts) if standalone else "\n\n".join(texts)
    if form == "md":
        return clean("\n\n".join(markdown(board, view) for board in boards))
    return clean(csv_text(boards, view) if form == "csv" else html(boards, view))


def markdown(board: Board, view: View) -> str:
    """Write a board in GitHub's Markdown, the best of each metric in bold."""
    table = lay_out(board, view)
    body = [[f"**{plain(c.text)}**" if c.place == BEST else plain(c.text) for c in row] for row in table.body]
    text = tabulate(body, [plain(name) for name in table.head], tablefmt="github", disable_numparse=True)
    name = f", {metric_name(board.metric)}" if view.pivot else ""
    lines = [f"**{plain(table.title)}**{name}", "", *(f"{plain(line)}  " for line in table.headline), ""]
    lines += [PREFIX + table.marker + SUFFIX, "", text, "", *(f"- {plain(line)}" for line in table.notes)]
    return "\n".join([*lines, "", f"Table {board.id}: `bench verify-table` checks it against the records."])


def html(boards: Sequence[Board], view: View) -> str:
    """Write boards as a page of its own that asks for nothing from the network."""
    from jinja2 import Environment
    from markupsafe import Markup

    tables = [lay_out(board, view) for board in boards]
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(
        title=tables[0].title if len(tables) == 1 else counted(len(tables), "board"),
        tables=tables,
        ids=[board.id for board in boards],
        marker=lambda table: Markup(PREFIX + table.marker + SUFFIX),  # JSON in ASCII without brackets
        best=BEST,
        second=SECOND,
    )


_MARKDOWN = {"\\": "\\\\", "|": "\\|", "`": "\\`", "<": "&lt;", ">": "&gt;"}


def plain(text: str) -> str:
    """Keep a name on one line, inside its Markdown cell, and without links, code or HTML."""
    text = "".join(_MARKDOWN.get(c, c if c.isprintable() else "?") for c in text)
    return text.replace("](", "]\\(")
