"""Charts as data: what they show; `assets/charts.js` draws them, and draws them again when rows are filtered.

Everything that belongs to a row of the board carries the id of its cell as `key`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Colours that the style sheet has: Okabe and Ito's, told apart by colour-blind readers on light and on dark ground.
COLOURS = 8
DASHES = ("", "6 4", "2 3", "8 3 2 3", "12 4")
#: Lines drawn at once; the others wait in the legend.
LINES = 6

Content = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """Chart with its title and caption.

    Attributes
    ----------
    id
        Unique on its page.
    title, caption
        Above and below it; the caption says how to read it.
    variants
        Content by name; where there are several, the reader chooses one.
    """

    id: str
    title: str
    caption: str
    variants: Mapping[str, Content]

    @property
    def content(self) -> Content:
        """The first variant."""
        return next(iter(self.variants.values()))


def point(
    x: float | str, y: float | str | None, interval: Sequence[float | None] = (None, None), **more: Any
) -> Content:
    """Make a point of a series; values that are not finite are None.

    Parameters
    ----------
    interval
        Low and high end.
    more
        `key`, `name`, and `hollow` for a control.
    """
    low, high = interval
    return {"x": x, "y": _finite(y), "low": _finite(low), "high": _finite(high), **more}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def series(name: str, colour: int, points: Sequence[Content], **more: Any) -> Content:
    """Make a series.

    Parameters
    ----------
    colour
        Place among the colours, from 0.
    more
        `key`, `line` (joined by a line), `marks` (drawn as marks), `dash`, `shape`.
    """
    return {"name": name, "colour": colour % COLOURS, "points": list(points), **more}


def dots(axis: str, rows: Sequence[Content], parts: Sequence[Content], lines: Sequence[Content] = ()) -> Content:
    """Make a chart of dots with their intervals, a line a row.

    Parameters
    ----------
    rows
        `name` and, for a row of the board, `key`; the first is on top.
    parts
        Series; the y of a point is the name of its row.
    lines
        Values that all rows are set against: `name`, `x`, `key`.
    """
    return {"kind": "dots", "axis": axis, "rows": list(rows), "series": list(parts), "lines": list(lines)}


def plane(x: str, y: str, parts: Sequence[Content], **more: Any) -> Content:
    """Make a chart of points and lines in the plane.

    Parameters
    ----------
    x, y
        Titles of the axes.
    more
        `log` for a logarithmic x axis, `words` for one of words, in their order; `front` to draw the Pareto front
        (less x, more y); `most` for the number of lines drawn at first.
    """
    return {"kind": "plane", "x": x, "y": y, "series": list(parts), **more}


def heat(unit: str, cells: Sequence[Content], digits: int = 4, signed: bool = False) -> Content:
    """Make a heat map; rows and columns stand in the order in which cells name them.

    Parameters
    ----------
    cells
        `row`, `column`, `value`, and maybe `key`, `name` and `mark`. Of several in one place the first is shown.
    signed
        Values below zero have a colour of their own, and a sign.
    """
    return {"kind": "heat", "unit": unit, "cells": list(cells), "digits": digits, "signed": signed}
