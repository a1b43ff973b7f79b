"""Figures of a board for Plotly; the page colours them for its theme."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY, Board
from bench.boards.rows import CEILING, BoardRow
from bench.report.text import folded, for_plotly, names, short
from bench.tables.verdicts import is_control

# Okabe and Ito's colours, told apart by colour-blind readers on light and on dark ground.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A7F00", "#7F7F7F")
WARM, COLD = "#E69F00", "#56B4E9"
METRIC = "nDCG@10"
# Lines drawn at once; the others wait in the legend.
LINES = 6


@dataclass(frozen=True)
class Figure:
    """Figure with its title and caption.

    Attributes
    ----------
    id
        Unique on its page.
    title, caption
        Above and below it; the caption says how to read it.
    content
        Plotly's `data` and `layout`.
    height
        Pixels.
    """

    id: str
    title: str
    caption: str
    content: dict[str, Any]
    height: int


def figure(name: str, title: str, caption: str, drawn: go.Figure, height: int = 380) -> Figure:
    """Make a `Figure` of a Plotly figure, without its template, which the page sets by its theme."""
    drawn.update_layout(height=height, margin={"l": 8, "r": 12, "t": 12, "b": 8})
    content = json.loads(drawn.to_json())
    content["layout"].pop("template", None)
    return Figure(name, title, caption, content, height)


def of_board(board: Board, runs: dict[str, CellResults]) -> list[Figure]:
    """Draw all figures of a board that has ranked rows.

    Parameters
    ----------
    runs
        By cell id, the runs of its rows.
    """
    if not board.rows:
        return []
    found = [bars(board), warm_and_cold(board), *costs(board), fold_by_fold(board, runs)]
    return [one for one in found if one is not None]


def bars(board: Board) -> Figure:
    """Draw nDCG@10 of every row with its 95% interval; controls are hatched."""
    rows = board.rows
    models = list(dict.fromkeys(row.model for row in rows))
    drawn = go.Figure()
    labels = dict(zip((id(row) for row in rows), names(rows), strict=True))
    for at, model in enumerate(models):
        mine = [row for row in rows if row.model == model]
        drawn.add_bar(
            name=for_plotly(model),
            orientation="h",
            y=[folded(labels[id(row)]) for row in mine],
            x=[row.mean[PRIMARY] for row in mine],
            error_x={"type": "data", "symmetric": False, "thickness": 1.5, "width": 4, **_errors(mine)},
            marker={
                "color": COLOURS[at % len(COLOURS)],
                "pattern": {"shape": ["/" if is_control(row) else "" for row in mine], "fillmode": "overlay"},
            },
            hovertemplate="%{y}<br>" + METRIC + " %{x:.4f}<extra></extra>",
        )
    drawn.update_yaxes(categoryorder="array", categoryarray=[folded(labels[id(row)]) for row in rows][::-1])
    drawn.update_xaxes(title=METRIC, rangemode="tozero")
    drawn.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, showlegend=len(models) > 1)
    caption = (
        "Mean over users, folds and seeds with 95% intervals"
        f"{', over users for these seeds only' if board.these_seeds_only else ''}. Hatched: controls, and models "
        "without features."
    )
    return figure("bars", "Rows with their intervals", caption, drawn, 110 + 36 * len(rows))


def _errors(rows: Sequence[BoardRow]) -> dict[str, list[float]]:
    return {
        "array": [row.high[PRIMARY] - row.mean[PRIMARY] for row in rows],
        "arrayminus": [row.mean[PRIMARY] - row.low[PRIMARY] for row in rows],
    }


def warm_and_cold(board: Board) -> Figure | None:
    """Draw nDCG@10 on warm targets among warm candidates, and on cold targets among all."""
    rows = [row for row in board.rows if row.slices.get("warm") is not None and row.model != CEILING]
    if not rows:
        return None
    labels = [folded(name) for name in names(rows)]
    top = max(row.slices.get(part) or 0.0 for row in rows for part in ("warm", "cold"))
    drawn = go.Figure()
    for part, colour, symbol in (("warm", WARM, "circle"), ("cold", COLD, "diamond")):
        drawn.add_scatter(
            name=part,
            mode="markers",
            y=labels,
            x=[row.slices.get(part) for row in rows],
            marker={"color": colour, "symbol": symbol, "size": 11},
            cliponaxis=False,
            hovertemplate="%{y}<br>" + part + " %{x:.4f}<extra></extra>",
        )
    # half a row above and below, and room for a mark at 0 beside its row's name
    drawn.update_yaxes(categoryorder="array", categoryarray=labels[::-1], range=[-0.5, len(rows) - 0.5])
    drawn.update_xaxes(title=METRIC, range=[-0.04 * top, 1.04 * top] if top else None, zeroline=False)
    drawn.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    caption = (
        "Warm: targets with events in the fitted rows, ranked among such items. Cold: targets without, ranked among "
        "all candidates. The two are not on one scale: compare rows, not the two marks of a row. Without the ceiling."
    )
    return figure("warm-cold", "Warm and cold targets", caption, drawn, 110 + 36 * len(rows))


def costs(board: Board) -> list[Figure]:
    """Draw quality against seconds of extraction and of training, without the ceiling."""
    out = []
    for key, title, unit in (
        ("extract", "Quality against extraction", "seconds an item"),
        ("train", "Quality against training", "seconds a seed, all folds"),
    ):
        rows = [row for row in board.rows if row.costs.get(key) and row.model != CEILING]
        if not rows:
            continue
        drawn = go.Figure()
        models = list(dict.fromkeys(row.model for row in rows))
        labels = dict(zip((row.cell for row in rows), names(rows), strict=True))
        for at, model in enumerate(models):
            mine = [row for row in rows if row.model == model]
            drawn.add_scatter(
                name=for_plotly(model),
                mode="markers",
                x=[row.costs.get(key) for row in mine],
                y=[row.mean[PRIMARY] for row in mine],
                text=[for_plotly(labels[row.cell]) for row in mine],
                error_y={"type": "data", "symmetric": False, "thickness": 1, "width": 3, **_errors(mine)},
                marker={
                    "size": 10,
                    "color": COLOURS[at % len(COLOURS)],
                    "symbol": ["x" if is_control(row) else "circle" for row in mine],
                },
                hovertemplate="%{text}<br>%{x:.3g} s<br>" + METRIC + " %{y:.4f}<extra></extra>",
            )
        drawn.update_xaxes(title=unit, type="log")
        drawn.update_yaxes(title=METRIC)
        drawn.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, showlegend=len(models) > 1)
        spans = [float(row.costs.get(key) or 0) for row in rows]
        span = f"From {short(min(spans))} to {short(max(spans))} {unit}"
        caption = f"{span}, wall clock on the machines of the records. Crosses: controls."
        out.append(figure(f"cost-{key}", title, caption, drawn))
    return out


def fold_by_fold(board: Board, runs: dict[str, CellResults]) -> Figure | None:
    """Draw nDCG@10 of every row in every fold, averaged over seeds."""
    if board.facts["folds"] < 2:
        return None
    days = [str(info.get("border", at))[:10] for at, info in enumerate(board.facts["fold_info"])]
    drawn = go.Figure()
    rows = sorted(board.rows, key=lambda row: row.model == CEILING)
    for at, (row, name) in enumerate(zip(rows, names(rows), strict=True)):
        by_fold = defaultdict(list)
        for record in runs[row.cell].found.values():
            by_fold[record.fold].append(record.metrics.get(PRIMARY))
        means = [_mean(by_fold[fold]) for fold in range(len(days))]
        drawn.add_scatter(
            name=for_plotly(name),
            x=days,
            y=means,
            mode="lines+markers",
            line={"color": COLOURS[at % len(COLOURS)], "dash": ("solid", "dash", "dot")[at // len(COLOURS) % 3]},
            visible=True if at < LINES and row.model != CEILING else "legendonly",
            hovertemplate="%{x}<br>%{y:.4f}<extra>" + for_plotly(name) + "</extra>",
        )
    drawn.update_xaxes(title="first day of the test window", type="category")
    drawn.update_yaxes(title=METRIC)
    drawn.update_layout(legend={"orientation": "h", "y": -0.25, "yanchor": "top"})
    caption = f"Mean over users and seeds. The first {LINES} rows are drawn; choose others in the legend."
    return figure("folds", "Fold by fold", caption, drawn, 430 + 12 * len(board.rows))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
