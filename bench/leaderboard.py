"""Boards: records of one fingerprint, aggregated over users, folds and seeds into ranked rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench import records
from protocols import pvalues, statistics
from protocols.errors import UserError

PRIMARY = "ndcg@10"
METRICS = ("hr@10", "ndcg@10")
PARTS = ("warm", "cold")
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
    degenerate
        Why the features hardly tell items apart; "": they do.
    tie_share
        Share of users whose top ten is decided by the tie-break.
    reason, failed
        Why the row is not ranked, and whether that was an error.
    cell
        Id of the cell: rows may differ in options only.
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
    degenerate: str = ""
    tie_share: float = 0.0
    parameters: int = 0
    seconds: float = 0.0
    reason: str = ""
    failed: bool = False
    cell: str = ""

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
    seeds = max((seeds_of(cell.values()) for cell in by_cell.values()), key=len)
    both = [_row(cell, seeds, folds) for cell in by_cell.values()]
    rows = [row for row, _ in both]
    ranking = sorted((b for b in both if not b[0].reason), key=lambda b: (-b[0].mean[PRIMARY], b[0].label))
    ranked = [row for row, _ in ranking]
    for metric in METRICS:
        panel = statistics.Panel(
            [frames[metric] for _, frames in ranking],
            [row.label for row in ranked],
            seeded=[bool(row.seeds) for row in ranked],
        )
        for at, row in enumerate(ranked):
            row.low[metric], row.high[metric] = panel.interval(at)
        if metric == PRIMARY:
            _compare(ranked, panel, enough=len(seeds) >= statistics.MIN_SEEDS)
            _compare_twins(ranked, panel)
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
    found = records.read_all(root)
    for path in records.newest(found).values():
        record = found[path]
        if dataset in (None, record.cell["dataset"]) and protocol in (None, record.cell["protocol"]):
            groups[record.board].append(path)
    return sorted((build(paths) for paths in groups.values()), key=lambda b: (-len(b.rows), b.fingerprint))


def per_user(cell: dict[Path, records.Record], columns: list[str] | None = None) -> pd.DataFrame:
    """Per-user frame of all records of a cell, with the columns `seed` and `fold`; every file is read once."""
    parts = [records.users(path, columns).assign(seed=record.seed, fold=record.fold) for path, record in cell.items()]
    return pd.concat(parts, ignore_index=True)


def values_of(users: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric as the frame [seed, fold, user_id, value] that `protocols.statistics` takes."""
    return users[["seed", "fold", "user_id", metric]].rename(columns={metric: "value"})


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


def _row(cell: dict[Path, records.Record], seeds: list[int], folds: int) -> tuple[Row, dict[str, pd.DataFrame]]:
    found = list(cell.values())
    first = found[0]
    cell_id = records.Cell(**first.cell).id
    row = Row(first.cell["model"], first.cell["extractor"], first.cell["fusion"], seeds=seeds_of(found), cell=cell_id)
    row.reason, row.failed = incomplete(found, seeds, folds)
    if row.reason:
        return row, {}
    wanted = set(seeds) if row.seeds else {0}
    kept = {path: record for path, record in cell.items() if record.seed in wanted}
    users = per_user(kept, ["user_id", *METRICS, *(f"{PRIMARY}_{part}" for part in PARTS)])
    frames = {metric: values_of(users, metric) for metric in METRICS}
    for metric, frame in frames.items():
        row.mean[metric] = statistics.board_mean(frame)
        row.seed_sd[metric] = statistics.seed_sd(frame) if len(row.seeds) > 1 else None
    for part in PARTS:
        frame = values_of(users, f"{PRIMARY}_{part}").dropna()
        row.slices[part] = statistics.board_mean(frame) if len(frame) else None
    row.slices["cold_targets"] = float(
        sum(r.fold_info.get("cold_targets", 0) for r in kept.values() if r.seed == found[0].seed)
    )
    row.checkpoints = records.checkpoints(first)
    row.coverage = first.features.get("coverage")
    row.degenerate = str(first.features.get("degenerate") or "")
    row.tie_share = sum(r.metrics.get("tie_share") or 0.0 for r in kept.values()) / len(kept)
    row.parameters = first.training.get("parameters", 0)
    row.seconds = sum(sum(v for k, v in r.seconds.items() if k != "cpu") for r in kept.values()) / max(
        1, len(row.seeds)
    )
    return row, frames


def _compare(rows: list[Row], panel: statistics.Panel, enough: bool) -> None:
    """Fill in the differences to the id row, one Holm family for the whole board."""
    base = next((at for at, row in enumerate(rows) if row.extractor == BASELINE and row.model != "pop"), None)
    if base is None:
        return
    others = [at for at in range(len(rows)) if at != base]
    found = [_difference(panel, at, base) for at in others]
    adjusted = pvalues.holm([difference["p"] for difference in found])
    for at, difference, p in zip(others, found, adjusted, strict=True):
        rows[at].difference = difference | ({"p_holm": float(p)} if enough else {})


def _compare_twins(rows: list[Row], panel: statistics.Panel) -> None:
    """Fill in the differences to the shuffled twins."""
    places = {(row.model, row.extractor, row.fusion): at for at, row in enumerate(rows)}
    for at, row in enumerate(rows):
        twin = places.get((row.model, f"shuffled:{row.extractor}", row.fusion))
        if twin is not None:
            row.twin = _difference(panel, at, twin)


def _difference(panel: statistics.Panel, row: int, base: int) -> dict[str, float]:
    found = panel.compare(row, base)
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
        "retrospective": any(info.get("retrospective") for info in infos.values()),
        "audit_failures": sum(
            not verdict["ok"] and not verdict.get("by_construction") for record in found for verdict in record.audit
        ),
        "commits": dict(Counter(str(record.environment.get("commit"))[:12] for record in found)),
    }
