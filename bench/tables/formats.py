"""Boards as Markdown, HTML and CSV; `render` for any format."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from bench.boards.leaderboard import Board
from bench.boards.rows import COSTS, EXPENSES, BoardRow
from bench.console import clean
from bench.tables.latex import document
from bench.tables.latex_board import latex_text
from bench.tables.layout import BEST, SECOND, View, lay_out, ordered
from bench.tables.numbers import metric_name

FORMATS = ("md", "latex", "csv", "html")
PREFIX, SUFFIX = "<!-- bench-table ", " -->"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th:nth-child(-n+{{ table.words }}), td:nth-child(-n+{{ table.words }}) { text-align: left; }
thead th, tr.group td { border-bottom: 1px solid; }
.scroll { overflow-x: auto; }
</style></head><body>
{{ marker }}
<h1>{{ title }}</h1>
{% for line in above %}<p>{{ line }}</p>
{% endfor %}<div class="scroll" tabindex="0"><table>
<thead><tr>{% for name in table.head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.body %}<tr{% if loop.index in table.breaks %} class="group"{% endif %}>{% for cell in row -%}
<td>{% if cell.place == best %}<b>{{ cell.text }}</b>{% elif cell.place == second %}<u>{{ cell.text }}</u>
{%- else %}{{ cell.text }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}</tbody></table></div>
{% for line in below %}<p>{{ line }}</p>
{% endfor %}</body></html>
"""


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
        text = latex_text(board, view)
        return document([text]) if standalone else text
    return clean({"md": markdown, "csv": csv_text, "html": html}[form](board, view))


def markdown(board: Board, view: View) -> str:
    """Write a board in GitHub's Markdown, the best of each metric in bold."""
    table = lay_out(board, view)
    body = [[f"**{plain(c.text)}**" if c.place == BEST else plain(c.text) for c in row] for row in table.body]
    text = tabulate(body, [plain(name) for name in table.head], tablefmt="github", disable_numparse=True)
    name = f", {metric_name(board.metric)}" if view.pivot else ""
    lines = [f"**{plain(table.title)}**{name}", "", *(f"{plain(line)}  " for line in table.headline), ""]
    lines += [PREFIX + table.marker + SUFFIX, "", text, "", *(f"- {plain(line)}" for line in table.notes)]
    return "\n".join([*lines, "", f"Table {board.id}: `bench verify-table` checks it against the records."])


def html(board: Board, view: View) -> str:
    """Write a board as a page of its own that asks for nothing from the network."""
    from jinja2 import Environment
    from markupsafe import Markup

    table = lay_out(board, view)
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(
        title=table.title,
        above=table.headline,
        below=[*table.notes, f"Table {board.id}"],
        table=table,
        marker=Markup(PREFIX + table.marker + SUFFIX),  # JSON in ASCII without brackets
        best=BEST,
        second=SECOND,
    )


def csv_text(board: Board, view: View) -> str:
    """Write a board as CSV, every number in full; a pivot as it is shown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if view.pivot or view.columns:
        table = lay_out(board, view)
        writer.writerow(["table", *map(harmless, table.head)])
        writer.writerows([board.id, *(harmless(cell.text) for cell in row)] for row in table.body)
        return out.getvalue()
    lines = [_line(board, rank, row) for rank, row in [*ordered(board, view), *((None, row) for row in board.unranked)]]
    writer.writerow(list(lines[0]))
    writer.writerows([harmless(v) if isinstance(v, str) else v for v in line.values()] for line in lines)
    return out.getvalue()


def _line(board: Board, rank: int | None, row: BoardRow) -> dict[str, Any]:
    """Write a row with all its numbers; empty where there is none."""
    line: dict[str, Any] = {
        "table": board.id,
        "board": board.fingerprint,
        "dataset": board.facts["dataset"],
        "simulated": board.simulated,
        "protocol": board.facts["protocol"],
        "metric": board.metric,
        "rank": rank,
        "rank_low": min(row.rank_interval, default=None),
        "rank_high": max(row.rank_interval, default=None),
        "tied_with_best": row.tied,
        "model": row.model,
        "extractor": row.extractor,
        "fusion": row.fusion,
        "checkpoints": row.checkpoints,
        "seeds": len(row.seeds),
    }
    for metric in board.metrics:
        parts: dict[str, Mapping[str, float | None]] = {
            "": row.mean,
            "_low": row.low,
            "_high": row.high,
            "_seed_sd": row.seed_sd,
        }
        line |= {metric + ending: part.get(metric) for ending, part in parts.items()}
    line["baseline"] = board.baseline
    deltas = {"diff": row.delta_vs_baseline, "diff_own_id": row.delta_vs_id, "diff_twin": row.delta_vs_shuffled}
    for name, difference in deltas.items():
        line |= {f"{name}_{key}": (difference or {}).get(key) for key in ("value", "low", "high", "p")}
    line["p_holm"] = (row.delta_vs_baseline or {}).get("p_holm")
    cold = [f"cold_among_cold{ending}" for ending in ("", "_low", "_high", "_users")]
    line |= {f"{board.metric}_{part}": row.slices.get(part) for part in ("warm", "cold", *cold)}
    line |= {"coverage": row.coverage, "degenerate": row.degenerate}
    spent = {**COSTS, **EXPENSES}
    line |= {name.replace(" ", "_").replace("/", "_per_"): row.costs.get(cost) for cost, name in spent.items()}
    return line | {"not_ranked_because": row.reason}


_MARKDOWN = {"\\": "\\\\", "|": "\\|", "`": "\\`", "<": "&lt;", ">": "&gt;"}


def plain(text: str) -> str:
    """Keep a name on one line, inside its Markdown cell, and without links, code or HTML."""
    text = "".join(_MARKDOWN.get(c, c if c.isprintable() else "?") for c in text)
    return text.replace("](", "]\\(")


def harmless(text: str) -> str:
    """Keep spreadsheets from running a name as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text != "-" else text
