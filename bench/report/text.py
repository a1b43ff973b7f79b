"""Names and numbers for readers; templates escape them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.boards.rows import BoardRow
from bench.console import printable
from bench.tables.layout import SIMULATED
from bench.tables.numbers import short as costing

__all__ = ["NONE", "SIMULATED", "names", "number", "printable", "printable_lines", "short"]

NONE = "\N{EN DASH}"


def printable_lines(text: str) -> str:
    """Keep the lines of a text; replace everything else that is not printable."""
    return "\n".join(printable(line.replace("\t", " ")) for line in text.splitlines())


def number(value: Any, digits: int = 4, sign: bool = False) -> str:
    """Write a number, or a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}"


def percent(value: float | None) -> str:
    """Write a share with one decimal; a dash where there is none."""
    return NONE if value is None else f"{value:.1%}"


def short(value: Any) -> str:
    """Write a number with three significant digits, thousands apart; a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    return costing(value)


def names(rows: Sequence[BoardRow]) -> list[str]:
    """Return the labels of rows, with the cell's id where two differ in options only."""
    many = Counter(row.label for row in rows)
    return [f"{row.label} ({row.cell})" if many[row.label] > 1 else row.label for row in rows]
