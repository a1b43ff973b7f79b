"""Charts of a board as PDF: differences with intervals (forest plot), and extractors by recommenders (heat map)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from bench.boards.leaderboard import Board
from bench.tables.charts import compared, grid, shortened
from bench.tables.latex import typesettable
from bench.tables.numbers import metric_name
from bench.tables.verdicts import minus_id, side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# names are no formulas; fonts are embedded as TrueType, as publishers ask
_STYLE: dict[Any, Any] = {"font.size": 7, "text.parse_math": False, "pdf.fonttype": 42, "axes.linewidth": 0.5}
# Okabe and Ito's blue and vermilion
_BLUE, _VERMILION = "#0072b2", "#d55e00"
#: Inches of a column and of the page of a two-column paper.
COLUMN, PAGE = 3.03, 6.29


def kinds(board: Board) -> list[str]:
    """Return the charts that a board has: none without shuffled controls, no heat map of a single recommender."""
    if not compared(board):
        return []
    return ["forest", "heat"] if len(grid(board).models) > 1 else ["forest"]


def pdf(board: Board, kind: str) -> bytes:
    """Draw a chart of `kinds`; the same board gives the same bytes."""
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        {"forest": _forest, "heat": _heat}[kind](board).savefig(out, format="pdf", metadata={"CreationDate": None})
    return out.getvalue()


def _forest(board: Board) -> Figure:
    """Draw the differences of rows to their shuffled control and to their ids, as wide as a column."""
    from matplotlib.figure import Figure

    rows = compared(board)
    drawn = Figure(figsize=(COLUMN, 0.75 + 0.19 * len(rows)), layout="constrained")
    axes = drawn.subplots()
    axes.axvline(0, color="0.4", linewidth=0.7)
    sources = (
        ("minus shuffled", _BLUE, "o", -0.14, lambda row: row.delta_vs_shuffled),
        ("minus id", _VERMILION, "s", 0.14, lambda row: minus_id(board, row)),
    )
    for name, colour, marker, shift, difference in sources:
        known = [(at + shift, found) for at, row in enumerate(rows) if (found := difference(row))]
        values = [found["value"] for _, found in known]
        widths = [[abs(found[end] - found["value"]) for _, found in known] for end in ("low", "high")]
        axes.errorbar(
            values,
            [at for at, _ in known],
            xerr=widths,
            fmt=marker,
            color=colour,
            label=name,
            markersize=2.5,
            linewidth=0.9,
        )
    axes.set_yticks(range(len(rows)), [_label(row.label, 34) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    drawn.supxlabel(f"{metric_name(board.metric)}, 95% intervals", fontsize=7)
    drawn.legend(loc="outside upper center", ncols=2, frameon=False)
    return drawn


def _heat(board: Board) -> Figure:
    """Draw extractors and fusions by recommenders, difference to the shuffled control, as wide as the page."""
    from matplotlib.figure import Figure

    models, lines, found, most = grid(board)
    values = [[found.get((*line, model), {}).get("value", float("nan")) for model in models] for line in lines]
    drawn = Figure(figsize=(PAGE, 0.6 + 0.17 * len(lines)), layout="constrained")
    axes = drawn.subplots()
    axes.imshow(values, cmap="RdBu", vmin=-1.8 * most, vmax=1.8 * most, aspect="auto")
    for down, line in enumerate(lines):
        for across, model in enumerate(models):
            if one := found.get((*line, model)):
                mark = "" if side(one) == "holds" else " *"
                axes.text(across, down, f"{one['value']:+.4f}{mark}", ha="center", va="center")
    axes.set_xticks(range(len(models)), [_label(model, 14) for model in models])
    axes.set_yticks(range(len(lines)), [_label(" ".join(line), 34) for line in lines])
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    return drawn


def _label(name: str, most: int) -> str:
    return typesettable(shortened(name, most).replace("…", "..."))
