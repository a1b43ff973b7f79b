"""Charts of layers: the quality of each alone, and the weight that a trained model gives it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle

import numpy as np

from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.records import Record
from bench.report import charts
from bench.report.board_charts import labelled, spread
from bench.report.charts import Chart, point
from bench.report.text import printable
from recommenders.encoder.fusions import Fusion

CURVE = "hr@10"


def curve(board: Board, runs: dict[str, CellResults]) -> Chart | None:
    """Draw HR@10 by single layer (figure 3 of DFF), ways to join layers as level lines; None without such rows."""
    single: dict[str, list[tuple[int, BoardRow]]] = defaultdict(list)
    joined: dict[str, list[BoardRow]] = defaultdict(list)
    for row in board.rows:
        fusion = Fusion.parse(row.fusion) if row.fusion != "-" else Fusion("id")
        if not fusion.layers:
            continue
        readout = [f"@{fusion.readout}"] if fusion.readout else []
        family = printable(" ".join([row.model, row.extractor, fusion.kind, *readout]))
        if fusion.layer is None:
            joined[family].append(row)
            continue
        layer, count = fusion.layer, _count(runs[row.cell].any_record)
        if layer >= 0 or count:
            single[family].append((layer if layer >= 0 else layer + count, row))
    if not any(len({layer for layer, _ in found}) > 1 for found in single.values()):
        return None
    parts = []
    for at, (family, found) in enumerate(sorted(single.items())):
        found.sort(key=lambda pair: pair[0])
        points = [point(layer, row.mean[CURVE], spread(row, CURVE), key=row.cell) for layer, row in found]
        parts.append(charts.series(family, at, points, line=True, marks=True))
        ends = found[0][0], found[-1][0]
        for row, dash in zip(joined.get(family, []), cycle(charts.DASHES[1:])):
            level = [point(layer, row.mean[CURVE]) for layer in ends]
            name = printable(f"{family} {Fusion.parse(row.fusion).layers}")
            parts.append(charts.series(name, at, level, key=row.cell, line=True, dash=dash))
    caption = (
        "One run for each layer alone (after figure 3 of DFF, arXiv 2512.21863), with 95% intervals; level lines: the "
        "layers joined. A layer picked from this picture was picked on test windows: quote it as such."
    )
    content = charts.plane("layer (0: the embedding)", "HR@10", parts)
    return Chart("layer-curve", "One layer alone", caption, {"": content})


def _count(record: Record) -> int:
    """Return the number of layers of a record's features; 0 where it does not say."""
    shape = record.features.get("shape") or []
    return int(shape[0]) if len(shape) == 3 else 0


def weights(run: CellResults) -> np.ndarray:
    """Return the weight of each layer in every record that holds them, [records, layers]; empty where none does."""
    found = [record.training.get("layer_weights") or [] for record in run.found.values()]
    found = [one for one in found if one]
    return (
        np.array([one for one in found if len(one) == len(found[0])], dtype=np.float64) if found else np.empty((0, 0))
    )


def of_board(board: Board, runs: dict[str, CellResults]) -> Chart | None:
    """Draw the weights of the layers in all rows that learned them."""
    rows = [row for row in board.rows if _learned(row.fusion) and weights(runs[row.cell]).size]
    if not rows:
        return None
    found = [weights(runs[row.cell]).mean(axis=0) for row in rows]
    caption = (
        "Mean over seeds and folds; of experts (moe) also over warm items, whose own weights differ. All weights of a "
        "row add up to one."
    )
    labels = [name for _, name in labelled(rows)]
    return heat("layer-weights", "Weights that layers were given", caption, labels, found, [row.cell for row in rows])


def of_run(run: CellResults) -> Chart | None:
    """Draw the weights of the layers for each seed and fold of a run."""
    records = [record for record in run.found.values() if record.training.get("layer_weights")]
    if not records:
        return None
    labels = [f"seed {record.seed}, fold {record.fold}" for record in records]
    found = [np.array(record.training["layer_weights"], dtype=np.float64) for record in records]
    return heat("layer-weights", "Weights that layers were given", "One line a seed and fold.", labels, found)


def _learned(fusion: str) -> bool:
    return Fusion.parse(fusion).layers in ("softmax", "moe") if fusion != "-" else False


def heat(
    name: str,
    title: str,
    caption: str,
    labels: Sequence[str],
    found: Sequence[np.ndarray],
    keys: Sequence[str | None] | None = None,
) -> Chart:
    """Draw lines of weights as a heat map, the first line on top.

    Parameters
    ----------
    labels
        Of the lines.
    found
        Weights of each line; lines may differ in length.
    keys
        Cells that the lines are of.
    """
    keys = keys or [None] * len(labels)
    cells = [
        {"row": label, "column": str(layer), "value": float(weight), "key": key}
        for label, weights, key in zip(labels, found, keys, strict=True)
        for layer, weight in enumerate(weights)
    ]
    content = charts.heat("weight", cells, digits=2)
    return Chart(name, title, f"{caption} Columns: layers (0: the embedding).", {"": content})
