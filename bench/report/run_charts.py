"""Charts of one run: learning curves, slices, folds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench import records
from bench.boards import compare
from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY
from bench.report import charts, layers
from bench.report.board_charts import METRIC
from bench.report.charts import Chart, Content, point
from protocols.errors import BenchError, DataError
from protocols.evaluation import slices, statistics
from protocols.wording import counted


def of_run(run: CellResults) -> list[Chart]:
    """Draw all charts that a run's records allow."""
    found = [
        _curves(run, "search_curve", "ndcg@10", METRIC, "Search: validation nDCG@10 by epoch"),
        _curves(run, "refit_curve", "loss", "loss", "Refit: loss by epoch"),
        folds(run),
        sliced(run),
        layers.of_run(run),
    ]
    return [one for one in found if one is not None]


def _curves(run: CellResults, kind: str, value: str, axis: str, title: str) -> Chart | None:
    """Draw one line a seed (dash) and fold (colour); None where the records hold no curve."""
    seeds = run.seeds or [0]
    parts: list[Content] = []
    for record in run.found.values():
        curve: list[dict[str, Any]] = record.training.get(kind) or []
        points = [point(epoch, note[value]) for epoch, note in enumerate(curve, 1) if value in note]
        if points:
            at = seeds.index(record.seed) if record.seed in seeds else 0
            name = f"seed {record.seed}, fold {record.fold}"
            parts.append(charts.series(name, record.fold, points, line=True, dash=_dash(at)))
    if not parts:
        return None
    caption = "One line a seed and fold; choose among them in the legend."
    return Chart(kind.replace("_", "-"), title, caption, {"": charts.plane("epoch", axis, parts)})


def _dash(at: int) -> str:
    return charts.DASHES[at % len(charts.DASHES)]


def folds(run: CellResults) -> Chart | None:
    """Draw nDCG@10 in every fold, one mark a seed; None where there is one fold only, or no value."""
    if run.folds < 2 or all(record.metrics.get(PRIMARY) is None for record in run.found.values()):
        return None
    parts = []
    for at, seed in enumerate(run.seeds or [0]):
        mine = sorted((r for r in run.found.values() if r.seed == seed), key=lambda r: r.fold)
        points = [point(str(r.fold_info.get("border", r.fold))[:10], r.metrics.get(PRIMARY)) for r in mine]
        name = f"seed {seed}" if seed else "no seed"
        parts.append(charts.series(name, at, points, line=True, marks=True, dash=_dash(at)))
    days = sorted({str(one["x"]) for part in parts for one in part["points"]})
    content = charts.plane("first day of the test window", METRIC, parts, words=days)
    return Chart("folds", "Fold by fold", "Mean over users, for each seed.", {"": content})


def sliced(run: CellResults) -> Chart | None:
    """Draw nDCG@10 on slices of users and targets with 95% intervals; None where records hold no ranks of targets."""
    try:
        if not any(slices.required(PRIMARY) <= set(records.columns(path)) for path in run.found):
            return None
        frames = compare.by_slice(run, PRIMARY, None)
    except DataError:
        return None
    points = [
        point(
            statistics.board_mean(known),
            f"{name}, {counted(known['user_id'].nunique(), 'user', ',')}",
            _interval(known),
        )
        for name, frame in frames.items()
        if len(known := frame.dropna(subset="value"))
    ]
    if not points:
        return None
    caption = (
        "Parts of users and of targets; a user's value counts only the targets of the slice. `warm` is ranked among "
        "warm candidates, everything else among all. 95% intervals, with fewer than five seeds over users alone."
    )
    content = charts.dots(METRIC, [{"name": one["y"]} for one in points], [charts.series(METRIC, 0, points)])
    return Chart("slices", "Slices", caption, {"": content})


def _interval(frame: pd.DataFrame) -> tuple[float, float]:
    """Return the interval of a slice; NaN for a run that lacks a seed of a fold."""
    try:
        return statistics.interval(frame)
    except BenchError:
        return float("nan"), float("nan")
