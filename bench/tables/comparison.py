"""Families of comparisons as Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tabulate import tabulate

from bench.boards.compare import Line, Report
from bench.tables import latex
from bench.tables.csv_text import one_csv
from bench.tables.formats import plain
from bench.tables.numbers import metric_name, p_value
from protocols.wording import counted

#: Columns of a CSV that all rows of a family have in common.
_SHARED = ("board", "dataset", "simulated", "protocol", "metric", "correction")


def comparisons(reports: Sequence[Report], form: str) -> str:
    """Write families of comparisons as `md`, `csv` or `latex`; a CSV is one table of them all."""
    if form != "csv":
        return "\n\n".join(comparison(report, form) for report in reports)
    contents = [report.as_json() for report in reports]
    return one_csv(({name: one[name] for name in _SHARED} | row for one in contents for row in one["rows"]), _SHARED)


def comparison(report: Report, form: str) -> str:
    """Write a family of comparisons, see `comparisons`."""
    if form == "csv":
        return comparisons([report], form)
    name = metric_name(report.metric)
    header = ["a", "b", *(["slice"] if any(line.part for line in report.lines) else []), f"{name} a", f"{name} b"]
    header += ["a - b [95%]", "relative", "p"]
    header += [f"p ({report.correction})"] if report.correction else []
    header += ["detectable", "users", "seeds"]
    body = [_line(line, "slice" in header) for line in report.lines]
    facts = report.facts
    corrected = f", {report.correction}" if report.correction else ""
    simulated = " (simulated data)" if facts["simulated"] else ""
    title = f"{facts['dataset']}{simulated}, {facts['protocol']}, board {facts['board'][:12]}"
    notes = [
        f"{counted(facts['folds'], 'fold')}, ranked users {', '.join(map(str, facts['users']))}. Intervals and p: t "
        "over users and seeds, both drawn at random. detectable: the smallest true difference found with power 0.8.",
        *([f"* differs at the 5% level{corrected}."] if "*" in str(body) else []),
        *report.notes,
    ]
    if form == "latex":
        heads = [name.removesuffix(" [95%]") for name in header]
        spans = [_with_margin(line, cells, header) for line, cells in zip(report.lines, body, strict=True)]
        said = f"{title}: {name}. Small: half of a 95% interval."
        marked = [note for note in notes if note.startswith("*")]
        return latex.table(
            heads,
            [name in ("a", "b", "slice") for name in heads],
            spans,
            caption=" ".join([said, *marked]),
            label=f"compare-{facts['board'][:12]}",
            comments=notes,
        )
    cells = [[plain(cell) for cell in row] for row in body]
    table = tabulate(cells, header, tablefmt="github", disable_numparse=True)
    return "\n".join([f"**{plain(title)}**", "", table, "", *map(plain, notes)])


def _with_margin(line: Line, cells: list[str], header: list[str]) -> list[latex.TexCell]:
    """Write a comparison for LaTeX, half of its interval in the place of both ends."""
    margin = "" if math.isnan(line.found.low) else f"{(line.found.high - line.found.low) / 2:.4f}".removeprefix("0")
    at = header.index("a - b [95%]")
    found = [latex.TexCell(cell) for cell in cells]
    found[at] = latex.TexCell(cells[at].partition(" [")[0], margin)
    return found


def _line(line: Line, with_part: bool) -> list[str]:
    """Write the cells of one comparison."""
    found = line.found
    cells = [line.a, line.b, *([line.part] if with_part else []), f"{found.mean_a:.4f}", f"{found.mean_b:.4f}"]
    cells.append(f"{found.effect:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")
    cells.append("-" if math.isnan(found.relative) else f"{found.relative:+.1%}")
    cells.append(p_value(found.p))
    if line.p_adjusted is not None:
        cells.append(p_value(line.p_adjusted))
    cells[-1] += " *" if line.significant else ""
    return [*cells, f"{found.detectable:.4f}", str(found.n_users), str(found.n_seeds)]
