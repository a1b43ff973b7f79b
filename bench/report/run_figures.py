"""Figures of one run: learning curves, slices, folds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from bench.boards import compare
from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY
from bench.report import layers
from bench.report.figures import COLOURS, METRIC, Figure, figure
from bench.report.text import for_plotly
from protocols.errors import BenchError, DataError
from protocols.evaluation import statistics

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def of_run(run: CellResults) -> list[Figure]:
    """Draw all figures that a run's records allow."""
    found = [
        _curves(run, "search_curve", "ndcg@10", METRIC, "Search: validation nDCG@10 by epoch"),
        _curves(run, "refit_curve", "loss", "loss", "Refit: loss by epoch"),
        folds(run),
        sliced(run),
        layers.of_run(run),
    ]
    return [one for one in found if one is not None]


def _curves(run: CellResults, kind: str, value: str, axis: str, title: str) -> Figure | None:
    """Draw one line a seed (dash) and fold (colour); None where the records hold no curve."""
    drawn = go.Figure()
    seeds = run.seeds or [0]
    for record in run.found.values():
        curve: list[dict[str, Any]] = record.training.get(kind) or []
        points = [(epoch, note[value]) for epoch, note in enumerate(curve, 1) if value in note]
        if points:
            drawn.add_scatter(
                name=f"seed {record.seed}, fold {record.fold}",
                x=[epoch for epoch, _ in points],
                y=[number for _, number in points],
                mode="lines+markers",
                marker={"size": 5},
                line={
                    "color": COLOURS[record.fold % len(COLOURS)],
                    "dash": DASHES[seeds.index(record.seed) % len(DASHES) if record.seed in seeds else 0],
                },
                hovertemplate="epoch %{x}<br>%{y:.4f}<extra>seed " + f"{record.seed}, fold {record.fold}</extra>",
            )
    if not drawn.data:
        return None
    drawn.update_xaxes(title="epoch")
    drawn.update_yaxes(title=axis)
    drawn.update_layout(legend={"orientation": "h", "y": -0.25, "yanchor": "top"})
    caption = "One line a seed and fold; choose among them in the legend."
    return figure(kind.replace("_", "-"), title, caption, drawn, 420 + 10 * len(drawn.data))


def folds(run: CellResults) -> Figure | None:
    """Draw nDCG@10 in every fold, one mark a seed; None where there is one fold only."""
    if run.folds < 2:
        return None
    drawn = go.Figure()
    for at, seed in enumerate(run.seeds or [0]):
        mine = sorted((r for r in run.found.values() if r.seed == seed), key=lambda r: r.fold)
        drawn.add_scatter(
            name=f"seed {seed}" if seed else "no seed",
            x=[str(record.fold_info.get("border", record.fold))[:10] for record in mine],
            y=[record.metrics.get(PRIMARY) for record in mine],
            mode="lines+markers",
            line={"color": COLOURS[at % len(COLOURS)], "dash": DASHES[at % len(DASHES)]},
            hovertemplate="%{x}<br>%{y:.4f}<extra></extra>",
        )
    drawn.update_xaxes(title="first day of the test window", type="category")
    drawn.update_yaxes(title=METRIC, rangemode="tozero")
    drawn.update_layout(legend={"orientation": "h", "y": -0.25, "yanchor": "top"})
    return figure("folds", "Fold by fold", "Mean over users, for each seed.", drawn)


def sliced(run: CellResults) -> Figure | None:
    """Draw nDCG@10 on slices of users and targets with 95% intervals; None where records hold no ranks of targets."""
    try:
        frames = compare.by_slice(run, PRIMARY, None)
    except DataError:
        return None
    found = {}
    for name, frame in frames.items():
        known = frame.dropna(subset="value")
        if len(known):
            found[name] = (statistics.board_mean(known), *_interval(known), known["user_id"].nunique())
    if not found:
        return None
    labels = [for_plotly(name).replace(" (", "<br>(") for name in found]
    means, lows, highs, users = (list(column) for column in zip(*found.values(), strict=True))
    drawn = go.Figure()
    drawn.add_bar(
        orientation="h",
        y=labels,
        x=means,
        customdata=users,
        marker={"color": COLOURS[0]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - mean for high, mean in zip(highs, means, strict=True)],
            "arrayminus": [mean - low for mean, low in zip(means, lows, strict=True)],
            "thickness": 1.5,
            "width": 4,
        },
        hovertemplate="%{y}<br>" + METRIC + " %{x:.4f}<br>%{customdata} users<extra></extra>",
    )
    drawn.update_yaxes(categoryorder="array", categoryarray=labels[::-1])
    drawn.update_xaxes(title=METRIC, rangemode="tozero")
    caption = (
        "Parts of users and of targets; a user's value counts only the targets of the slice. `warm` is ranked among "
        "warm candidates, everything else among all. 95% intervals, with fewer than five seeds over users alone."
    )
    return figure("slices", "Slices", caption, drawn, 110 + 36 * len(labels))


def _interval(frame: pd.DataFrame) -> tuple[float, float]:
    """Return the interval of a slice; NaN for a run that lacks a seed of a fold."""
    try:
        return statistics.interval(frame)
    except BenchError:
        return float("nan"), float("nan")
