"""Charts of a board as SVG: differences with intervals (forest plot), and extractors by models (heat map)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from typing import Any, NamedTuple

from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.console import printable
from bench.tables.numbers import metric_name
from bench.tables.verdicts import interval, is_control, minus_id, seeds_of, side

#: Rows of a forest plot.
MOST = 24
_WIDTH, _LINE, _LABEL = 860, 22, 290
# Okabe and Ito's blue and vermilion; grounds and inks follow the reader's theme.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328; } .small { font-size: 11px; fill: #59636e; }
.title { font-size: 14px; font-weight: 600; } .grid { stroke: #d1d9e0; } .zero { stroke: #59636e; }
.a { stroke: #0072b2; fill: #0072b2; } .b { stroke: #d55e00; fill: none; } line { stroke-width: 1.5; }
.up { fill: #0072b2; } .down { fill: #d55e00; } .none { fill: none; stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; } .small { fill: #9198a1; } .grid, .none { stroke: #3d444d; } .zero { stroke: #9198a1; }
.a { stroke: #56b4e9; fill: #56b4e9; } .b { stroke: #e69f00; } .up { fill: #56b4e9; } .down { fill: #e69f00; }
}
"""


class Grid(NamedTuple):
    """Differences to the shuffled control, extractors and fusions by models.

    Attributes
    ----------
    models, lines
        Models across; (extractor, fusion) down; both best first.
    cells
        Difference and interval by (extractor, fusion, model); of several rows the best.
    most
        Largest difference in size, never 0.
    """

    models: list[str]
    lines: list[tuple[str, str]]
    cells: dict[tuple[str, str, str], dict[str, Any]]
    most: float


def with_control(board: Board) -> list[BoardRow]:
    """Return the rows that have a shuffled control and are none."""
    return [row for row in board.rows if row.delta_vs_shuffled and not is_control(row)]


def grid(board: Board) -> Grid:
    """Arrange the rows with a shuffled control, of which there is at least one, by model."""
    rows = with_control(board)
    cells = {(row.extractor, row.fusion, row.model): row.delta_vs_shuffled or {} for row in reversed(rows)}
    return Grid(
        list(dict.fromkeys(row.model for row in rows)),
        list(dict.fromkeys((row.extractor, row.fusion) for row in rows)),
        cells,
        max(abs(one["value"]) for one in cells.values()) or 1.0,
    )


def compared(board: Board, most: int = MOST) -> list[BoardRow]:
    """Choose the rows of a forest plot: of each extractor and model the best fusion with a shuffled control."""
    found: dict[tuple[str, str], BoardRow] = {}
    for row in with_control(board):
        found.setdefault((row.model, row.extractor), row)
    return list(found.values())[:most]


def forest(board: Board) -> str:
    """Draw the differences of rows to their shuffled control and to their ids, with 95% intervals.

    Returns
    -------
    str
        SVG; "" for a board without rows that have a shuffled control.
    """
    rows = compared(board)
    if not rows:
        return ""
    pairs = [(row.delta_vs_shuffled or {}, minus_id(board, row)) for row in rows]
    known = [difference for pair in pairs for difference in pair if difference]
    low = min(0.0, *(one["low"] for one in known))
    high = max(0.0, *(one["high"] for one in known))
    left, right = _LABEL, _WIDTH - 20

    def at(value: float) -> float:
        return left + (value - low) / ((high - low) or 1.0) * (right - left)

    top, bottom = 74, 74 + _LINE * len(rows)
    parts = [
        _text(12, 22, f"Value of content, {metric_name(board.metric)}: {board.facts['dataset']}", "title"),
        f'<circle class="a" cx="18" cy="40" r="4"/>{_text(28, 44, "minus the same vectors on wrong items")}',
        f'<circle class="b" cx="308" cy="40" r="4"/>{_text(318, 44, "minus ids alone")}',
        _text(450, 44, f"95% intervals, {seeds_of(board)}; right of 0: better", "small"),
    ]
    for value in _ticks(low, high):
        kind = "zero" if value == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{at(value):.1f}" x2="{at(value):.1f}" y1="{top - 12}" y2="{bottom}"/>')
        parts.append(_text(at(value), bottom + 16, f"{value:+.3f}" if value else "0", "small", "middle"))
    for place, (row, (shuffled, ids)) in enumerate(zip(rows, pairs, strict=True)):
        y = top + _LINE * place
        parts.append(_text(left - 12, y + 4, shortened(row.label), anchor="end"))
        for kind, difference, shift in (("a", shuffled, -3), ("b", ids, 4)):
            if difference:
                said = escape(printable(f"{shortened(row.label)}: {interval(difference)}"))
                parts.append(
                    f'<g class="{kind}"><title>{said}</title><line x1="{at(difference["low"]):.1f}" '
                    f'x2="{at(difference["high"]):.1f}" y1="{y + shift}" y2="{y + shift}"/>'
                    f'<circle cx="{at(difference["value"]):.1f}" cy="{y + shift}" r="3.5"/></g>'
                )
    return _svg(bottom + 30, f"Forest plot of {board.facts['dataset']}", parts)


def heat(board: Board) -> str:
    """Draw extractors and fusions by models: difference to the shuffled control; "" where no row has one."""
    if not with_control(board):
        return ""
    models, lines, found, most = grid(board)
    left, top, wide = 250, 84, min(110, (_WIDTH - 262) // len(models))
    title = f"{metric_name(board.metric)} minus the shuffled control: {board.facts['dataset']}"
    note = f"* the 95% interval does not hold 0 ({seeds_of(board)}); empty: not run"
    parts = [_text(12, 22, title, "title"), _text(12, 44, note, "small")]
    for column, model in enumerate(models):
        parts.append(_text(left + wide * column + wide / 2, top - 10, shortened(model, 14), "small", "middle"))
    for line, (extractor, fusion) in enumerate(lines):
        y = top + _LINE * line
        parts.append(_text(left - 10, y + 15, shortened(f"{extractor} {fusion}"), anchor="end"))
        for column, model in enumerate(models):
            one, x = found.get((extractor, fusion, model)), left + wide * column
            box = f'x="{x}" y="{y}" width="{wide - 2}" height="{_LINE - 2}"'
            if one is None:
                parts.append(f'<rect class="none" {box}/>')
                continue
            kind, strength = "up" if one["value"] >= 0 else "down", 0.6 * abs(one["value"]) / most
            parts.append(
                f'<rect class="{kind}" fill-opacity="{strength:.2f}" {box}><title>{interval(one)}</title></rect>'
            )
            mark = "" if side(one) == "holds" else " *"
            parts.append(_text(x + wide / 2, y + 15, f"{one['value']:+.4f}{mark}", anchor="middle"))
    return _svg(top + _LINE * len(lines) + 14, title, parts)


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(printable(text))}</text>'


def shortened(label: str, most: int = 38) -> str:
    """Shorten a name; of a path in it (`published:/a/b.npy`) the last part stays."""
    text = " ".join(PurePath(word).name if "/" in word and ":" in word else word for word in label.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _ticks(low: float, high: float) -> list[float]:
    """Choose three to eight round values from `low` to `high`, 0 among them."""
    span = high - low
    step = next((s for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if span / s <= 8), 1.0)
    return [round(k * step, 6) for k in range(int(low / step), int(high / step) + 1)]
