"""Boards: records of one fingerprint, aggregated over users, folds and seeds into ranked rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench import records
from protocols import statistics
from protocols.errors import UserError

PRIMARY = "ndcg@10"
METRICS = ("hr@10", "ndcg@10")
# Rows that stand for no extractor: they tell what a number is worth.
BASELINE = "id"


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
        nDCG@10 minus the baseline row's, with `low`, `high`, `p` (permutation), `p_t` and `p_holm`; None for the
        baseline itself and where there is none.
    twin
        The same against the row's `shuffled:` twin (same model and fusion), where there is one: what the content of
        the features is worth.
    slices
        nDCG@10 on warm targets among warm candidates, and on cold targets among all.
    tie_share
        Share of users whose top ten is decided by the tie-break.
    reason, failed
        Why the row is not ranked, and whether that was an error.
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
    twin: dict[str, float] | None = None
    slices: dict[str, float | None] = field(default_factory=dict)
    coverage: float | None = None
    tie_share: float = 0.0
    parameters: int = 0
    seconds: float = 0.0
    reason: str = ""
    failed: bool = False

    @property
    def label(self) -> str:
        """Short name for people."""
        return " ".join(part for part in (self.model, self.extractor, self.fusion) if part != "-")

    @property
    def significant(self) -> bool:
        """At the 5% level after Holm's correction; never with fewer than three seeds."""
        return self.difference is not None and self.difference.get("p_holm", 1.0) < 0.05


@dataclass
class Board:
    """Rows that share one fingerprint.

    Attributes
    ----------
    fingerprint
        Dataset content, protocol with all knobs, folds, candidate policy.
    facts
        Dataset, protocol, folds with borders and counts, seeds.
    rows, unranked
        Ranked best first by nDCG@10; and those with a missing seed or fold, with the reason.
    """

    fingerprint: str
    simulated: bool
    facts: dict[str, Any]
    rows: list[Row]
    unranked: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return asdict(self)


def build(paths: Iterable[Path]) -> Board:
    """Aggregate the records of one board.

    Raises
    ------
    UserError
        If there are none, or they belong to different boards.
    """
    found = {path: records.read(path) for path in paths}
    boards = {record.board for record in found.values()}
    if len(boards) != 1:
        raise UserError(
            f"{len(boards)} boards in these records: rows of different fingerprints are never ranked together"
        )
    by_cell: dict[str, dict[Path, records.Record]] = defaultdict(dict)
    for path, record in found.items():
        by_cell[records.Cell(**record.cell).id][path] = record
    any_record = next(iter(found.values()))
    folds = max((r.fold_info.get("folds", r.fold + 1) for r in found.values()), default=0)
    seeds = max((_seeds(cell.values()) for cell in by_cell.values()), key=len)
    rows, frames = [], {}
    for cell in by_cell.values():
        row, frame = _row(cell, seeds, folds)
        rows.append(row)
        if frame is not None:
            frames[id(row)] = frame
    ranked = sorted((r for r in rows if not r.reason), key=lambda r: (-r.mean[PRIMARY], r.label))
    _compare(ranked, frames, enough=len(seeds) >= 3)
    _compare_twins(ranked, frames)
    return Board(
        any_record.board,
        any_record.simulated,
        _facts(list(found.values()), seeds, folds),
        ranked,
        sorted((r for r in rows if r.reason), key=lambda r: r.label),
    )


def boards(root: Path, dataset: str | None = None, protocol: str | None = None) -> list[Board]:
    """Build every board below a results folder, newest record of each cell, seed and fold; most rows first."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in records.newest(records.find(root)).values():
        record = records.read(path)
        if dataset in (None, record.cell["dataset"]) and protocol in (None, record.cell["protocol"]):
            groups[record.board].append(path)
    return sorted((build(paths) for paths in groups.values()), key=lambda b: (-len(b.rows), b.fingerprint))


def per_user(cell: dict[Path, records.Record]) -> pd.DataFrame:
    """Per-user frame of all records of a cell, with the columns `seed` and `fold`; every file is read once."""
    parts = [records.users(path).assign(seed=record.seed, fold=record.fold) for path, record in cell.items()]
    return pd.concat(parts, ignore_index=True)


def _values(users: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric as the frame [seed, fold, user_id, value] that `protocols.statistics` takes."""
    return users[["seed", "fold", "user_id", metric]].rename(columns={metric: "value"})


def _seeds(cell: Iterable[records.Record]) -> list[int]:
    """Seeds of a cell; none for a cell that does not depend on them."""
    return sorted({record.seed for record in cell if record.seed})


def _row(cell: dict[Path, records.Record], seeds: list[int], folds: int) -> tuple[Row, pd.DataFrame | None]:
    found = list(cell.values())
    first = found[0]
    row = Row(first.cell["model"], first.cell["extractor"], first.cell["fusion"], seeds=_seeds(found))
    failed = [record for record in found if record.status != "ok"]
    wanted = {(seed, fold) for seed in (seeds if row.seeds else [0]) for fold in range(folds)}
    absent = wanted - {(record.seed, record.fold) for record in found}
    if failed:
        row.reason, row.failed = f"{len(failed)} failed: {failed[0].error.splitlines()[0]}", True
    elif absent:
        names = ", ".join(f"seed {s} fold {f}" for s, f in sorted(absent)[:3])
        row.reason = f"{len(absent)} results missing ({names}{', ...' if len(absent) > 3 else ''})"
    if row.reason:
        return row, None
    kept = {path: record for path, record in cell.items() if (record.seed, record.fold) in wanted}
    users = per_user(kept)
    frames = {metric: _values(users, metric) for metric in METRICS}
    for metric, frame in frames.items():
        row.mean[metric] = statistics.board_mean(frame)
        row.low[metric], row.high[metric] = statistics.interval(frame)
        row.seed_sd[metric] = statistics.seed_sd(frame) if len(row.seeds) > 1 else None
    for part in ("warm", "cold"):
        frame = _values(users, f"{PRIMARY}_{part}").dropna()
        row.slices[part] = statistics.board_mean(frame) if len(frame) else None
    row.slices["cold_targets"] = float(
        sum(r.fold_info.get("cold_targets", 0) for r in kept.values() if r.seed == found[0].seed)
    )
    row.checkpoints = _checkpoints(first)
    row.coverage = first.features.get("coverage")
    row.tie_share = sum(r.metrics.get("tie_share") or 0.0 for r in kept.values()) / len(kept)
    row.parameters = first.training.get("parameters", 0)
    row.seconds = sum(sum(v for k, v in r.seconds.items() if k != "cpu") for r in kept.values()) / max(
        1, len(row.seeds)
    )
    return row, frames[PRIMARY]


def _checkpoints(record: records.Record) -> str:
    """Names of the checkpoints in a record's provenance, each once, in the order of the chain."""
    names = record.features.get("provenance", {}).get("checkpoints", [])
    return " + ".join(dict.fromkeys(str(name) for name in names))


def _compare(rows: list[Row], frames: dict[int, pd.DataFrame], enough: bool) -> None:
    """Fill in the differences to the id row, one Holm family for the whole board."""
    base = next((row for row in rows if row.extractor == BASELINE and row.model != "pop"), None)
    if base is None:
        return
    others = [row for row in rows if row is not base]
    for row in others:
        row.difference = _difference(row, base, frames)
    if enough:
        for row, p in zip(
            others, statistics.holm([row.difference["p"] for row in others if row.difference]), strict=True
        ):
            assert row.difference is not None
            row.difference["p_holm"] = float(p)


def _compare_twins(rows: list[Row], frames: dict[int, pd.DataFrame]) -> None:
    """Fill in the differences to the shuffled twins."""
    found = {(row.model, row.extractor, row.fusion): row for row in rows}
    for row in rows:
        twin = found.get((row.model, f"shuffled:{row.extractor}", row.fusion))
        if twin is not None:
            row.twin = _difference(row, twin, frames)


def _difference(row: Row, base: Row, frames: dict[int, pd.DataFrame]) -> dict[str, float]:
    found = statistics.compare(frames[id(row)], frames[id(base)], seeded=(bool(row.seeds), bool(base.seeds)))
    return {
        "value": found.effect,
        "low": found.low,
        "high": found.high,
        "p": found.p_permutation,
        "p_t": found.p_t,
    }


def _facts(found: list[records.Record], seeds: list[int], folds: int) -> dict[str, Any]:
    first = found[0]
    infos = {record.fold: record.fold_info for record in found}
    return {
        "dataset": first.cell["dataset"],
        "dataset_options": first.cell["options"].get("dataset", {}),
        "dataset_fingerprint": first.dataset.get("fingerprint", "")[:16],
        "protocol": first.cell["protocol"],
        "seeds": seeds,
        "folds": folds,
        "fold_info": [infos[fold] for fold in sorted(infos)],
        "audit_failures": sum(not verdict["ok"] for record in found for verdict in record.audit),
        "commits": dict(Counter(str(record.environment.get("commit"))[:12] for record in found)),
    }
