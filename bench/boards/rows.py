"""Rows of a board: the results of a cell aggregated over users, folds and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bench import records
from bench.boards.cell_results import CellResults
from protocols import json_text
from protocols.errors import DataError
from protocols.evaluation import statistics
from protocols.evaluation.row_values import RowValues
from protocols.resource_usage import Usage

#: Cold targets among cold candidates.
AMONG_COLD = "cold_among_cold"
PARTS = ("warm", "cold", AMONG_COLD)
#: The model of the ranking ceiling, which is no competitor.
CEILING = "oracle"
#: What a row took, as records hold it, with the names that tables give it.
COSTS = {
    "extract": "extract s/item",
    "bytes": "bytes/item",
    "train": "train s",
    "parameters": "parameters",
    "memory": "peak MB",
}
#: Measured use of resources by extraction (of all items) and training (all folds of one seed), in hours and Wh; in
#: tables where it is asked for.
EXPENSES = {
    f"{stage}-{unit}": f"{stage} {title}"
    for stage in ("extract", "train")
    for unit, title in (("h", "h"), ("cpu-h", "CPU h"), ("gpu-h", "GPU h"), ("wh", "Wh"))
}
_DELTAS = ("delta_vs_baseline", "delta_vs_id", "delta_vs_shuffled")


@dataclass
class BoardRow:
    """Row of a board: one cell.

    Attributes
    ----------
    model, extractor, fusion
        Names as typed.
    checkpoints
        Checkpoint names its features come from (`pocket` marks the small self-trained ones).
    mean, low, high, seed_sd
        By metric: mean over users, folds and seeds; 95% interval over users and seeds (under five seeds
        over users, for these seeds only); SD between seeds (None for one seed).
    delta_vs_baseline
        The board's metric minus the baseline row's, with `low` and `high`, and from five seeds on `p` and `p_holm`;
        None for the baseline itself and where there is none.
    delta_vs_id
        The same against the row of the same model without features, where the baseline is another model's.
    delta_vs_shuffled
        The same against the row's shuffled control (same model and fusion), where there is one: the value of the
        content of the features.
    tied
        Not distinguishable from the best row (Holm over all rows against it; the best is tied with itself); None for
        the oracle, which is no competitor, and under five seeds.
    rank_interval
        Lowest and highest rank by the board's metric, 95%.
    slices
        The board's metric on warm targets among warm candidates, on cold targets among all and on cold targets among
        cold candidates; of the last also `_low` and `_high`, its 95% interval, and `_users`, how many have a value in
        a fold, summed over folds. None where the records do not say.
    degenerate
        Reason if the features hardly tell items apart, else "".
    doubts
        Fits of which early stopping may not have found the optimum, and of how many; see
        `recommenders.training.loop.doubts`.
    tie_share
        Share of users whose top ten is decided by the tie-break.
    reason, failed
        Reason why the row is not ranked, and True if that was an error.
    cell
        Id of the cell: rows may differ in options only.
    costs
        By `COSTS` and `EXPENSES`; None where the records do not say.
    """

    model: str
    extractor: str
    fusion: str
    checkpoints: str = ""
    seeds: list[int] = field(default_factory=list)
    mean: dict[str, float] = field(default_factory=dict)
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    seed_sd: dict[str, float | None] = field(default_factory=dict)
    delta_vs_baseline: dict[str, float] | None = None
    delta_vs_id: dict[str, float] | None = None
    delta_vs_shuffled: dict[str, float] | None = None
    tied: bool | None = None
    rank_interval: list[int] = field(default_factory=list)
    slices: dict[str, float | None] = field(default_factory=dict)
    coverage: float | None = None
    degenerate: str = ""
    doubts: list[int] = field(default_factory=lambda: [0, 0])
    tie_share: float = 0.0
    parameters: int = 0
    seconds: float = 0.0
    reason: str = ""
    failed: bool = False
    cell: str = ""
    costs: dict[str, float | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Short name for people."""
        return " ".join(part for part in (self.model, self.extractor, self.fusion) if part != "-")

    @property
    def significant(self) -> bool:
        """At the 5% level after Holm's correction; never with fewer than five seeds."""
        return self.delta_vs_baseline is not None and self.delta_vs_baseline.get("p_holm", 1.0) < 0.05

    def as_json(self) -> dict[str, Any]:
        """All fields, JSON-able: None for intervals that are undefined."""
        return json_text.plain(vars(self))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Undo `as_json`."""
        values = dict(content)
        for name in ("mean", "low", "high", *_DELTAS):
            values[name] = values[name] and {key: _or_nan(value) for key, value in values[name].items()}
        values["slices"] = {
            key: _or_nan(value) if key.endswith(("_low", "_high")) else value for key, value in values["slices"].items()
        }
        return cls(**values)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def aggregate(
    results: CellResults, seeds: Sequence[int], folds: int, metrics: Sequence[str], primary: str
) -> tuple[BoardRow, dict[str, RowValues]]:
    """Aggregate the results of one cell.

    Parameters
    ----------
    results
        One record for each seed and fold.
    seeds, folds
        Of the board, see `CellResults.incomplete`.
    metrics, primary
        The metrics to average, and the one of which warm and cold values are shown.

    Returns
    -------
    row, values
        The row without what needs other rows, and the values of each metric; none for a row that cannot be ranked.
    """
    cell, first = results.cell, results.any_record
    row = BoardRow(cell.model, cell.extractor, cell.fusion, seeds=results.seeds, cell=cell.id)
    row.checkpoints = records.checkpoints(first)
    row.reason, row.failed = results.incomplete(seeds, folds)
    if row.reason:
        return row, {}
    wanted = set(seeds) if row.seeds else {0}
    kept = {path: record for path, record in results.found.items() if record.seed in wanted}
    results = CellResults(cell, results.board, kept)
    parts = [f"{primary}_{part}" for part in PARTS if "_" not in primary]
    try:
        users = results.users(metrics, optional=parts)
    except DataError as error:
        row.reason = str(error)
        return row, {}
    for metric in metrics:
        row.mean[metric] = users[metric].mean
        row.seed_sd[metric] = statistics.seed_sd(users[metric]) if len(row.seeds) > 1 else None
    for part in PARTS:
        values = users.get(f"{primary}_{part}")
        counted = 0 if values is None else int(values.has_value.sum())
        row.slices[part] = values.mean if values is not None and counted else None
        if values is not None and counted and part == AMONG_COLD:
            row.slices[f"{part}_low"], row.slices[f"{part}_high"] = statistics.interval(values)
            row.slices[f"{part}_users"] = float(counted)
    row.slices["cold_targets"] = float(
        sum(r.fold_info.get("cold_targets", 0) for r in kept.values() if r.seed == first.seed)
    )
    row.coverage = first.features.get("coverage")
    row.degenerate = str(first.features.get("degenerate") or "")
    row.doubts = [sum(bool(r.training.get("doubts")) for r in kept.values()), len(kept)]
    row.tie_share = sum(r.metrics.get("tie_share") or 0.0 for r in kept.values()) / len(kept)
    row.parameters = first.training.get("parameters", 0)
    row.costs = costs(results)
    row.seconds = row.costs["train"] or 0.0
    return row, {metric: users[metric] for metric in metrics}


def costs(results: CellResults) -> dict[str, float | None]:
    """Gather the costs of a cell from its records.

    Returns
    -------
    dict
        By the keys of `COSTS`: seconds of extraction and stored bytes of an item (of the last stage of the chain),
        wall seconds of search, refit and ranking of all folds of one seed, trainable parameters, and peak resident
        MB of a process that trained; and by those of `EXPENSES`. None where no record says.
    """
    first, kept = results.any_record, results.found.values()
    spent = [value for record in kept for stage, value in record.seconds.items() if stage != "cpu"]
    memory = max((record.peak_memory_mb for record in kept), default=0.0)
    return {
        "extract": first.features.get("seconds_per_item"),
        "bytes": first.features.get("bytes_per_item"),
        "train": sum(spent) / max(1, len(results.seeds)) if spent else None,
        "parameters": first.training.get("parameters"),
        "memory": memory or None,
        **_expenses("extract", [first.usage.get("extraction")]),
        **_expenses("train", [record.usage.get("training") for record in kept], max(1, len(results.seeds))),
    }


def _expenses(stage: str, found: Sequence[Mapping[str, Any] | None], seeds: int = 1) -> dict[str, float | None]:
    """Add up what was measured, by the keys of `EXPENSES`; None where a part of it is unknown."""
    known = [Usage.from_json(one) for one in found if one is not None]
    if len(known) < len(found):
        return dict.fromkeys(f"{stage}-{unit}" for unit in ("h", "cpu-h", "gpu-h", "wh"))
    used = sum(known, Usage())
    seconds = {"h": used.wall_s, "cpu-h": used.cpu_s, "gpu-h": used.gpu_s, "wh": used.joules}
    return {f"{stage}-{unit}": None if sum_ is None else sum_ / 3600 / seeds for unit, sum_ in seconds.items()}
