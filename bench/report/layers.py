"""Pictures of layers: what each is worth alone, what weight a trained model gives it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from bench.boards.leaderboard import Board, Row
from bench.boards.lookup import Run
from bench.boards.records import Record
from bench.report.figures import COLOURS, Figure, figure
from bench.report.text import folded, for_plotly, names
from recommenders.encoder.fusions import Fusion

CURVE = "hr@10"


def curve(board: Board, runs: dict[str, Run]) -> Figure | None:
    """HR@10 by single layer (figure 3 of DFF), with the ways to join layers as level lines; None without such rows."""
    single: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    joined: dict[str, list[Row]] = defaultdict(list)
    for row in board.rows:
        fusion = Fusion.parse(row.fusion) if row.fusion != "-" else Fusion("id")
        if not fusion.layers:
            continue
        family = " ".join([row.model, row.extractor, fusion.kind, *([f"@{fusion.readout}"] if fusion.readout else [])])
        if fusion.layer is None:
            joined[family].append(row)
            continue
        layer, count = fusion.layer, _count(runs[row.cell].any_record)
        if layer >= 0 or count:
            single[family].append((layer if layer >= 0 else layer + count, row))
    if not any(len({layer for layer, _ in found}) > 1 for found in single.values()):
        return None
    drawn = go.Figure()
    for at, (family, found) in enumerate(sorted(single.items())):
        found.sort(key=lambda pair: pair[0])
        rows, layers = [row for _, row in found], [layer for layer, _ in found]
        colour = COLOURS[at % len(COLOURS)]
        drawn.add_scatter(
            name=for_plotly(family),
            x=layers,
            y=[row.mean[CURVE] for row in rows],
            mode="lines+markers",
            line={"color": colour},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [row.high[CURVE] - row.mean[CURVE] for row in rows],
                "arrayminus": [row.mean[CURVE] - row.low[CURVE] for row in rows],
                "thickness": 1,
                "width": 3,
            },
            hovertemplate="layer %{x}<br>HR@10 %{y:.4f}<extra></extra>",
        )
        for row, dash in zip(joined.get(family, []), ("dash", "dot", "dashdot", "longdash") * 4, strict=False):
            drawn.add_scatter(
                name=for_plotly(f"{family} {Fusion.parse(row.fusion).layers}"),
                x=[layers[0], layers[-1]],
                y=[row.mean[CURVE]] * 2,
                mode="lines",
                line={"color": colour, "dash": dash},
                hovertemplate="HR@10 %{y:.4f}<extra></extra>",
            )
    drawn.update_xaxes(title="layer (0: the embedding)", dtick=1)
    drawn.update_yaxes(title="HR@10")
    drawn.update_layout(legend={"orientation": "h", "y": -0.25, "yanchor": "top"})
    caption = (
        "One run for each layer alone (after figure 3 of DFF, arXiv 2512.21863), with 95% intervals; level lines: the "
        "layers joined. A layer picked from this picture was picked on test windows: quote it as such."
    )
    return figure("layer-curve", "One layer alone", caption, drawn, 460)


def _count(record: Record) -> int:
    """Number of layers of a record's features; 0 where it does not say."""
    shape = record.features.get("shape") or []
    return int(shape[0]) if len(shape) == 3 else 0


def weights(run: Run) -> np.ndarray:
    """Return the weight of each layer in every record that holds them, [records, layers]; empty where none does."""
    found = [record.training.get("layer_weights") or [] for record in run.found.values()]
    found = [one for one in found if one]
    return (
        np.array([one for one in found if len(one) == len(found[0])], dtype=np.float64) if found else np.empty((0, 0))
    )


def of_board(board: Board, runs: dict[str, Run]) -> Figure | None:
    """Weights of the layers in all rows that learned them."""
    rows = [row for row in board.rows if _learned(row.fusion) and weights(runs[row.cell]).size]
    if not rows:
        return None
    found = [weights(runs[row.cell]).mean(axis=0) for row in rows]
    caption = (
        "Mean over seeds and folds; of experts (moe) also over warm items, whose own weights differ. All weights of a "
        "row add up to one."
    )
    labels = [folded(name) for name in names(rows)]
    return heat("layer-weights", "Weights that layers were given", caption, labels, found)


def of_run(run: Run) -> Figure | None:
    """Weights of the layers for each seed and fold of a run."""
    records = [record for record in run.found.values() if record.training.get("layer_weights")]
    if not records:
        return None
    labels = [f"seed {record.seed}, fold {record.fold}" for record in records]
    found = [np.array(record.training["layer_weights"], dtype=np.float64) for record in records]
    return heat("layer-weights", "Weights that layers were given", "One line a seed and fold.", labels, found)


def _learned(fusion: str) -> bool:
    return Fusion.parse(fusion).layers in ("softmax", "moe") if fusion != "-" else False


def heat(
    name: str, title: str, caption: str, labels: Sequence[str], found: Sequence[np.ndarray], unit: str = "layer"
) -> Figure:
    """Draw lines of weights as a heat map, the first line on top.

    Parameters
    ----------
    labels
        Of the lines, escaped for Plotly.
    found
        Weights of each line; lines may differ in length.
    """
    width = max(len(one) for one in found)
    grid = [[*one.tolist(), *[None] * (width - len(one))] for one in found]
    drawn = go.Figure()
    drawn.add_heatmap(
        z=grid,
        x=list(range(width)),
        y=list(range(len(grid))),
        colorscale="Cividis",
        zmin=0,
        colorbar={"thickness": 12, "tickformat": ".2f"},
        hovertemplate=unit + " %{x}<br>weight %{z:.3f}<extra></extra>",
    )
    drawn.update_yaxes(tickmode="array", tickvals=list(range(len(grid))), ticktext=list(labels), autorange="reversed")
    drawn.update_xaxes(title=f"{unit} (0: the embedding)", dtick=max(1, width // 12))
    return figure(name, title, caption, drawn, 120 + 34 * len(grid))
