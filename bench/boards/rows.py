"""One row of a board: a cell's records aggregated over users, folds and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bench.boards import records
from protocols.errors import DataError
from protocols.evaluation import slices, statistics

PARTS = ("warm", "cold")
#: The row that nothing can beat: a ceiling, no competitor.
CEILING = "oracle"
#: What a row took, as records hold it, with the names that tables give it.
COSTS = {
    "extract": "extract s/item",
    "bytes": "bytes/item",
    "train": "train s",
    "parameters": "parameters",
    "memory": "peak MB",
}


@dataclass
class Row:
    """One cell on a board.

    Attributes
    ----------
    model, extractor, fusion
        What it is.
    checkpoints
        Checkpoint names its features come from (`pocket` marks the small self-trained ones).
    mean, low, high, seed_sd
        By metric: mean over users, folds and seeds; 95% interval over users; SD between seeds (None for one seed).
    difference
        The board's metric minus the baseline row's, with `low`, `high`, `p` (permutation), `p_t` and `p_holm`; None
        for the baseline itself and where there is none.
    own
        The same against the row of the same model without features, where the baseline is another model's.
    twin
        The same against the row's `shuffled:` twin (same model and fusion), where there is one: what the content of
        the features is worth.
    tied
        Not distinguishable from the best row (Holm over all rows against it; the best is tied with itself); None for
        the oracle, which is no competitor, and under three seeds.
    slices
        The board's metric on warm targets among warm candidates, and on cold targets among all.
    degenerate
        Why the features hardly tell items apart; "": they do.
    tie_share
        Share of users whose top ten is decided by the tie-break.
    reason, failed
        Why the row is not ranked, and whether that was an error.
    cell
        Id of the cell: rows may differ in options only.
    costs
        By `COSTS`; None where the records do not say.
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
    difference: dict[str, float] | None = None
    own: dict[str, float] | None = None
    twin: dict[str, float] | None = None
    tied: bool | None = None
    slices: dict[str, float | None] = field(default_factory=dict)
    coverage: float | None = None
    degenerate: str = ""
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
        """At the 5% level after Holm's correction; never with fewer than three seeds."""
        return self.difference is not None and self.difference.get("p_holm", 1.0) < 0.05


def user_values(path: Path, metrics: Sequence[str]) -> pd.DataFrame:
    """Metrics of every user of a record, computed from the ranks of targets where the file does not hold them.

    Parameters
    ----------
    path
        Of the record.
    metrics
        `ndcg@10`, `hr@20_warm` and the like.

    Returns
    -------
    pd.DataFrame
        [user_id, *metrics]; NaN for users without such a target.

    Raises
    ------
    DataError
        If the file holds neither a metric nor the ranks.
    """
    held = records.columns(path)
    absent = [metric for metric in metrics if metric not in held]
    ranks = [column for column in held if column in slices.NEEDED] if absent else []
    wanted = dict.fromkeys(["user_id", *(metric for metric in metrics if metric in held), *ranks])
    users = records.users(path, list(wanted))
    if absent:
        try:
            targets = slices.Targets.of(users)
        except DataError as error:
            raise DataError(f"{records.frame_of(path).name}: {error}", error.remedy) from error
        users = users.assign(**{metric: targets.values(metric) for metric in absent})
    return users[["user_id", *metrics]]


def seeds_of(cell: Iterable[records.Record]) -> list[int]:
    """Seeds of a cell; none for a cell that does not depend on them."""
    return sorted({record.seed for record in cell if record.seed})


def incomplete(cell: Iterable[records.Record], seeds: list[int], folds: int) -> tuple[str, bool]:
    """Say why a cell cannot be ranked (empty if it can), and whether that was an error.

    Parameters
    ----------
    cell
        Records of one cell.
    seeds, folds
        What the board has; a cell that does not depend on seeds needs seed 0 only.
    """
    found = list(cell)
    failed = [record for record in found if record.status != "ok"]
    if failed:
        return f"{len(failed)} failed: {failed[0].error.splitlines()[0]}", True
    wanted = {(seed, fold) for seed in (seeds if seeds_of(found) else [0]) for fold in range(folds)}
    absent = wanted - {(record.seed, record.fold) for record in found}
    if not absent:
        return "", False
    names = ", ".join(f"seed {s} fold {f}" for s, f in sorted(absent)[:3])
    return f"{len(absent)} results missing ({names}{', ...' if len(absent) > 3 else ''})", False


def aggregate(
    cell: dict[Path, records.Record], seeds: list[int], folds: int, metrics: Sequence[str], primary: str
) -> tuple[Row, dict[str, pd.DataFrame]]:
    """Aggregate the records of one cell.

    Parameters
    ----------
    cell
        Its records by path, one for each seed and fold.
    seeds, folds
        What the board has, see `incomplete`.
    metrics, primary
        What is averaged, and of which of them warm and cold values are shown.

    Returns
    -------
    row, frames
        The row without what needs other rows, and [seed, fold, user_id, value] of each metric; no frames for a row
        that cannot be ranked.
    """
    found = list(cell.values())
    first = found[0]
    row = Row(first.cell["model"], first.cell["extractor"], first.cell["fusion"], seeds=seeds_of(found))
    row.cell = records.Cell(**first.cell).id
    row.checkpoints = records.checkpoints(first)
    row.reason, row.failed = incomplete(found, seeds, folds)
    if row.reason:
        return row, {}
    wanted = set(seeds) if row.seeds else {0}
    kept = {path: record for path, record in cell.items() if record.seed in wanted}
    parts = [f"{primary}_{part}" for part in PARTS if "_" not in primary]
    users = _users(kept, metrics, parts)
    frames = {metric: _values_of(users, metric) for metric in metrics}
    for metric, frame in frames.items():
        row.mean[metric] = statistics.board_mean(frame)
        row.seed_sd[metric] = statistics.seed_sd(frame) if len(row.seeds) > 1 else None
    for part in PARTS:
        name = f"{primary}_{part}"
        frame = _values_of(users, name).dropna() if name in users else users[:0]
        row.slices[part] = statistics.board_mean(frame) if len(frame) else None
    row.slices["cold_targets"] = float(
        sum(r.fold_info.get("cold_targets", 0) for r in kept.values() if r.seed == found[0].seed)
    )
    row.coverage = first.features.get("coverage")
    row.degenerate = str(first.features.get("degenerate") or "")
    row.tie_share = sum(r.metrics.get("tie_share") or 0.0 for r in kept.values()) / len(kept)
    row.parameters = first.training.get("parameters", 0)
    row.costs = costs(kept.values())
    row.seconds = row.costs["train"] or 0.0
    return row, frames


def costs(found: Iterable[records.Record]) -> dict[str, float | None]:
    """What the records of one cell say of its costs.

    Returns
    -------
    dict
        By the keys of `COSTS`: seconds of extraction and stored bytes of an item (of the last stage of the chain),
        wall seconds of search, refit and ranking of all folds of one seed, trainable parameters, and peak resident
        MB of a process that trained; None where no record says.
    """
    kept = list(found)
    first = kept[0]
    spent = [value for record in kept for stage, value in record.seconds.items() if stage != "cpu"]
    memory = max((record.peak_memory_mb for record in kept), default=0.0)
    return {
        "extract": first.features.get("seconds_per_item"),
        "bytes": first.features.get("bytes_per_item"),
        "train": sum(spent) / max(1, len(seeds_of(kept))) if spent else None,
        "parameters": first.training.get("parameters"),
        "memory": memory or None,
    }


def _users(cell: dict[Path, records.Record], metrics: Sequence[str], parts: Sequence[str]) -> pd.DataFrame:
    """Metrics of all users of a cell with `seed` and `fold`; of the parts only those that every record can tell."""
    read = []
    for path, record in cell.items():
        try:
            users = user_values(path, [*metrics, *parts])
        except DataError:
            users = user_values(path, metrics)
        read.append(users.assign(seed=record.seed, fold=record.fold))
    return pd.concat(read, ignore_index=True, join="inner")


def _values_of(users: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric as the frame [seed, fold, user_id, value] that `protocols.evaluation.statistics` takes."""
    return users[["seed", "fold", "user_id", metric]].rename(columns={metric: "value"})
