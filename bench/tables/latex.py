r"""LaTeX tables that fit a column or the page of a two-column paper, without `\resizebox`.

Widths are estimated from Computer Modern, the widest of the usual fonts. Where a table is too wide, words are broken
and the half-widths of intervals stand below their values: columns of fixed width let TeX do both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.console import printable
from protocols.errors import UserError

PREFIX = "% bench-table "
#: Points of a column and of the page, as narrow as those of the usual two-column classes (ACL's) at 10 pt.
COLUMN, PAGE = 219.0, 455.0
#: Rows from which on a table is a longtable, which breaks over pages.
LONG = 45
PACKAGES = r"\usepackage{array,booktabs,longtable}"

#: End of a line of a table or a stack.
NEW_LINE = r"\\"
_GAP = 5.0
_SIZE = (r"\footnotesize", r"\setlength{\tabcolsep}{2.5pt}", r"\setlength{\belowcaptionskip}{4pt}")
# em of cmr10; small sizes are cut wider
_KINDS = {"ijlfIt.,:;!|'`()[]": 0.37, "mwMW@%+=<>&#±": 0.86, " -": 0.34, "ABCDEFGHJKLNOPQRSTUVXYZ": 0.76}
_EMS = {letter: em for letters, em in _KINDS.items() for letter in letters}
_FOOTNOTE, _SCRIPT, _BOLD = 8 * 1.0625, 7 * 1.139, 1.15
# Longer words may be broken, after signs or anywhere.
_WORD = 14


@dataclass(frozen=True)
class TexCell:
    """Cell of a table.

    Attributes
    ----------
    text
        Value or words, not escaped.
    margin
        Half-width of its interval, not escaped; small, beside the value or below it.
    style
        TeX around the value, `%s` in its place.
    """

    text: str
    margin: str = ""
    style: str = "%s"

    @property
    def beside(self) -> float:
        """Width in points on one line."""
        return self._value(self.text) + (_points(f" ±{self.margin}", _SCRIPT) if self.margin else 0.0)

    @property
    def folded(self) -> float:
        """Width in points of its widest word, or of its margin."""
        return max([_points(f"±{self.margin}", _SCRIPT), *map(self._value, _parts(self.text))])

    def _value(self, text: str) -> float:
        return _points(text, _FOOTNOTE) * (_BOLD if "textbf" in self.style else 1.0)

    def source(self) -> str:
        """Write the cell; signed values with the minus of mathematics."""
        if re.fullmatch(r"[+-]\d*\.\d+", self.text):
            text = f"${self.text}$"
        else:
            text = " ".join(r"\allowbreak{}".join(map(tex, _broken(word))) for word in self.text.split(" "))
        text = self.style % text
        return rf"{text} {{\scriptsize $\pm${tex(self.margin)}}}" if self.margin else text


def table(
    head: Sequence[str],
    words: Sequence[bool],
    body: Sequence[Sequence[TexCell]],
    *,
    caption: str,
    label: str,
    breaks: Iterable[int] = (),
    comments: Sequence[str] = (),
) -> str:
    r"""Write a table in the form that fits: `table` in a column, `table*` over the page, `longtable` from `LONG` rows.

    Parameters
    ----------
    head, words
        Names of the columns, and if they hold words.
    body
        Rows; one with a cell for each column.
    caption
        Not escaped.
    label
        Of the caption, without `tab:`.
    breaks
        Positions in `body` before which a line is drawn.
    comments
        Lines below the table; not escaped.

    Raises
    ------
    UserError
        If the table is wider than the page.
    """
    specs = fit(head, words, body)
    if specs is None:
        raise UserError(
            f"{len(head)} columns are wider than the page of a two-column paper ({PAGE:.0f} pt)",
            remedy="choose fewer, up to 8 of them, with --columns",
        )
    wide, spec = specs
    top = " & ".join(_stacked(name, left) for name, left in zip(head, words, strict=True)) + r" \\"
    start, lines = set(breaks), []
    for at, row in enumerate(body):
        lines += [r"\midrule"] if at in start else []
        lines.append(" & ".join(cell.source() for cell in row) + r" \\")
    said = [rf"\caption{{{tex(caption)}}}", rf"\label{{tab:{label}}}"]
    lines = _long(spec, said, top, lines) if len(body) >= LONG else _short(wide, spec, said, top, lines)
    return "\n".join([f"% needs {PACKAGES}", *lines, *(f"% {printable(line)}" for line in comments), ""])


def _short(wide: bool, spec: str, said: list[str], top: str, lines: list[str]) -> list[str]:
    name = "table*" if wide else "table"
    begin = [rf"\begin{{{name}}}", r"\centering", *_SIZE, *said, rf"\begin{{tabular}}{{{spec}}}", r"\toprule", top]
    return [*begin, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", rf"\end{{{name}}}"]


def _long(spec: str, said: list[str], top: str, lines: list[str]) -> list[str]:
    begin = [r"% in a paper of two columns after \onecolumn", r"\begingroup", *_SIZE]
    begin += [r"\setlength{\LTcapwidth}{\linewidth}", rf"\begin{{longtable}}{{{spec}}}"]
    # \tabularnewline, because a line that ends in \\ is one of the table for bench verify-table
    begin += [*said, r"\tabularnewline", r"\toprule", top, r"\midrule", r"\endfirsthead"]
    begin += [r"\toprule", top, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"]
    return [*begin, *lines, r"\end{longtable}", r"\endgroup"]


def fit(head: Sequence[str], words: Sequence[bool], body: Sequence[Sequence[TexCell]]) -> tuple[bool, str] | None:
    """Choose the widths of columns: in a column if possible, on one line if possible.

    Returns
    -------
    (wide, specification) or None
        If the table needs the whole page, and the argument of `tabular`; None if the page is too narrow.
    """
    columns = list(zip(*body, strict=True)) or [()] * len(head)
    heads = [max(_points(part, _FOOTNOTE) for part in _parts(name)) for name in head]
    beside = [max([least, *(c.beside for c in cells)]) for least, cells in zip(heads, columns, strict=True)]
    folded = [max([least, *(c.folded for c in cells)]) for least, cells in zip(heads, columns, strict=True)]
    broken = [least if left else full for least, full, left in zip(folded, beside, words, strict=True)]
    for limit in (COLUMN, PAGE):
        room = limit - _GAP * (len(head) - 1)
        for least in (beside, broken, folded):
            spare = room - sum(least)
            if spare < 0:
                continue
            # words get the room that is left
            wanted = [full - one if left else 0.0 for full, one, left in zip(beside, least, words, strict=True)]
            share = min(1.0, spare / (sum(wanted) or 1.0))
            given = [one + share * more for one, more in zip(least, wanted, strict=True)]
            parts = [_column(*each) for each in zip(given, beside, words, strict=True)]
            return limit == PAGE, "@{}" + "".join(parts) + "@{}"
    return None


def document(tables: Sequence[str]) -> str:
    """Write tables as a whole document; each begins a page of its own, as wide as that of a two-column paper."""
    lines = [
        r"\documentclass{article}",
        rf"\usepackage[textwidth={PAGE:.0f}pt,textheight=660pt]{{geometry}}",
        PACKAGES,
        r"\begin{document}\raggedbottom",
        "\n\\clearpage\n".join(tables),
        r"\end{document}",
        "",
    ]
    return "\n".join(lines)


def _column(width: float, full: float, left: bool) -> str:
    if width >= full:
        return "l" if left else "r"
    return rf">{{\ragged{'right' if left else 'left'}\arraybackslash}}p{{{width:.1f}pt}}"


def _stacked(name: str, left: bool) -> str:
    """Write the name of a column, its words one below the other."""
    parts = list(map(tex, _parts(name)))
    return parts[0] if len(parts) == 1 else rf"\shortstack[{'l' if left else 'r'}]{{{NEW_LINE.join(parts)}}}"


def _points(text: str, em: float) -> float:
    return em * sum(_EMS.get(letter, 0.55) for letter in text)


def _parts(text: str) -> list[str]:
    """Split a text where a line may end."""
    return [part for word in text.split(" ") for part in _broken(word)]


def _broken(word: str) -> list[str]:
    """Split a long word after signs, and where there are none for long."""
    return [word] if len(word) <= _WORD else re.findall(rf"[^\W_]{{1,{_WORD}}}[\W_]{{0,4}}|[\W_]{{1,4}}", word)


_TEX = (
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
    | {c: "\\" + c for c in "&%$#_{}"}
)
# Letters that pdflatex typesets without further packages: eth and thorn are none of them.
_ACCENTED = {chr(code) for code in range(0xC0, 0x100) if chr(code).isalpha()} - set("ÐðÞþ")


def tex(text: str) -> str:
    """Escape every character that TeX would act on; `?` for those that pdflatex cannot typeset."""
    return "".join(_TEX.get(c, c) for c in typesettable(text))


def typesettable(text: str) -> str:
    """Replace the characters that pdflatex cannot typeset by `?`."""
    return "".join(c if " " <= c <= "~" or c in _ACCENTED else "?" for c in text)
