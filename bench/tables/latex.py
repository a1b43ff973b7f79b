"""Boards in LaTeX."""

from __future__ import annotations

import re

from bench.boards.leaderboard import Board
from bench.tables.layout import BEST, SECOND, TableCell, View, lay_out
from bench.tables.numbers import metric_name

PREFIX = "% bench-table "
# Long: costs and checkpoints stand in the other formats.
_LEFT_OUT = ("bytes/item", "peak MB", "checkpoints", "p (Holm)", "seed SD")
_INTERVAL = re.compile(r" \[([^\]]*)\]$")
_STYLES = {BEST: r"\textbf{%s}", SECOND: r"\underline{%s}", "": "%s"}


def latex_text(board: Board, view: View, standalone: bool = False) -> str:
    r"""Write a board as a booktabs table with caption and label.

    Parameters
    ----------
    board, view
        What is shown, and how.
    standalone
        A whole document; else a table to `\input` into one that loads `booktabs` and `graphicx`.
    """
    table = lay_out(board, view)
    kept = [at for at, name in enumerate(table.head) if name not in _LEFT_OUT]
    significant = "p (Holm)" in table.head
    lines = [
        PREFIX + table.marker,
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * table.words}{'r' * (len(kept) - table.words)}}}",
        r"\toprule",
        " & ".join(_heading(table.head[at]) for at in kept) + r" \\",
        r"\midrule",
    ]
    marks = table.head.index("p (Holm)") if significant else -1
    for at, row in enumerate(table.body):
        lines += [r"\midrule"] if at in table.breaks else []
        starred = significant and row[marks].text.endswith("*")
        cells = [_cell(row[k], starred and table.head[k].startswith("diff. to") and k < marks) for k in kept]
        lines.append(" & ".join(cells) + r" \\")
    said = [f"{metric_name(board.metric)}, {table.title}."] if view.pivot else [f"{table.title}."]
    said += [*table.headline, *table.notes, "Bold: best; underlined: second; ceilings are left out of both."]
    lines += [r"\bottomrule", r"\end{tabular}}", rf"\caption{{{tex(' '.join(said))}}}"]
    lines += [rf"\label{{tab:{board.id}}}", r"\end{table}", ""]
    return _document(lines) if standalone else "\n".join(lines)


def _heading(name: str) -> str:
    return tex(name).replace("diff. to", r"$\Delta$")


def _cell(cell: TableCell, starred: bool) -> str:
    """Write a value in the style of its place, its interval small beside it."""
    interval = _INTERVAL.search(cell.text)
    value = tex(cell.text[: interval.start()] if interval else cell.text)
    if value.startswith(("-0", "+0", "-.", "+.")):
        value = f"${value}{'^{*}' if starred else ''}$"
    text = _STYLES[cell.place] % value
    return rf"{text} {{\scriptsize $[{tex(interval[1])}]$}}" if interval else text


def _document(lines: list[str]) -> str:
    top = [lines[0], r"\documentclass{article}", r"\usepackage[landscape,margin=1cm]{geometry}"]
    top += [r"\usepackage{booktabs,graphicx}", r"\begin{document}"]
    return "\n".join([*top, *lines[1:-1], r"\end{document}", ""])


_TEX = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
    | {c: "\\" + c for c in "&%$#_{}"}
)
# Letters that pdflatex typesets without further packages.
_ACCENTED = range(0xC0, 0x100)


def tex(text: str) -> str:
    """Escape every character that TeX would act on; `?` for those that pdflatex cannot typeset."""
    return "".join(_TEX.get(c, c if " " <= c <= "~" or (ord(c) in _ACCENTED and c.isalpha()) else "?") for c in text)
