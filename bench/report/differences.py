"""Users whom one run serves and another fails, with the lists that they were shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import records
from bench.boards.cell_results import CellResults
from bench.report.text import printable
from protocols.errors import DataError
from protocols.evaluation.metrics import PRIMARY

HIT = "hr@10"
COLUMNS = ["user_id", HIT, PRIMARY, "top", "target", "target_rank"]


@dataclass(frozen=True)
class Counts:
    """User and fold pairs by who is served: a target in the top ten under every seed; fails: under none.

    Pairs that a run serves under some of its seeds only are in `mixed`.
    """

    a_only: int
    b_only: int
    both: int
    neither: int
    mixed: int

    @property
    def all(self) -> int:
        """All pairs."""
        return self.a_only + self.b_only + self.both + self.neither + self.mixed


@dataclass(frozen=True)
class Shown:
    """List that one run showed a user, under its first seed.

    Attributes
    ----------
    ndcg
        Mean over the seeds.
    ranks
        Of each target; 0: it cannot be found.
    top
        Raw ids, best first.
    """

    ndcg: float
    ranks: list[int]
    top: list[str]


@dataclass(frozen=True)
class Example:
    """A user in a fold, whom a serves and b fails; targets are raw ids, None for what was no item of the problem."""

    user: str
    fold: int
    targets: list[str | None]
    a: Shown
    b: Shown


def find(a: CellResults, b: CellResults, count: int) -> tuple[list[Example], Counts]:
    """Find examples, those with the largest difference in nDCG@10 first.

    Parameters
    ----------
    a, b
        Runs of one board.
    count
        How many at most.

    Raises
    ------
    DataError
        If the records hold no lists and ranks: compact copies leave them out.
    """
    frames = [_all(run) for run in (a, b)]
    both = frames[0].join(frames[1], lsuffix="_a", rsuffix="_b", how="inner")
    hit_a, hit_b = both[f"{HIT}_a"], both[f"{HIT}_b"]
    served = (hit_a == 1) & (hit_b == 0)
    counts = Counts(
        a_only=int(served.sum()),
        b_only=int(((hit_a == 0) & (hit_b == 1)).sum()),
        both=int(((hit_a == 1) & (hit_b == 1)).sum()),
        neither=int(((hit_a == 0) & (hit_b == 0)).sum()),
        mixed=int((hit_a.between(0, 1, "neither") | hit_b.between(0, 1, "neither")).sum()),
    )
    chosen = both[served].assign(difference=lambda f: f[f"{PRIMARY}_a"] - f[f"{PRIMARY}_b"])
    chosen = chosen.sort_index().sort_values("difference", ascending=False, kind="stable").head(count)
    keys = zip(chosen.index.get_level_values("fold"), chosen.index.get_level_values("user_id"), strict=True)
    return [_example(a, b, int(fold), str(user), chosen.iloc[at]) for at, (fold, user) in enumerate(keys)], counts


def _all(run: CellResults) -> pd.DataFrame:
    """Hit rate and nDCG@10 by (fold, user), averaged over seeds, with the place of the first seed's lists."""
    parts = []
    for path, record in run.found.items():
        held = records.columns(path)
        missing = [column for column in COLUMNS if column not in held]
        if missing:
            raise DataError(
                f"{run.label}: {records.frame_of(path).name} holds no column {missing[0]!r}",
                remedy="use the local records instead of a compact copy: --results results/local",
            )
        frame = records.users(path, ["user_id", HIT, PRIMARY])
        parts.append(frame.assign(fold=record.fold, seed=record.seed, row=np.arange(len(frame))))
    every = pd.concat(parts, ignore_index=True).sort_values("seed", kind="stable")
    grouped = every.groupby(["fold", "user_id"])
    return grouped.agg({HIT: "mean", PRIMARY: "mean", "row": "first"})


def _example(a: CellResults, b: CellResults, fold: int, user: str, row: pd.Series) -> Example:
    shown, targets = [], []
    for run, side in ((a, "a"), (b, "b")):
        lists = records.users(_first(run, fold), COLUMNS).iloc[int(row[f"row_{side}"])]
        ranks = [int(rank) for rank in lists["target_rank"]]
        shown.append(Shown(float(row[f"{PRIMARY}_{side}"]), ranks, [str(item) for item in lists["top"]]))
        targets = [None if item is None else str(item) for item in lists["target"]]
    return Example(user, fold, targets, *shown)


def _first(run: CellResults, fold: int) -> Path:
    """Record of a fold under the first seed."""
    return min((record.seed, path) for path, record in run.found.items() if record.fold == fold)[1]


def items_of(examples: Sequence[Example], histories: Sequence[Sequence[str]], depth: int) -> list[str]:
    """Raw ids of everything that a sheet shows, sorted."""
    found = {item for history in histories for item in history}
    for example in examples:
        found |= {item for item in example.targets if item is not None}
        found |= {*example.a.top[:depth], *example.b.top[:depth]}
    return sorted(found)


def sentence(counts: Counts, a: str, b: str) -> str:
    """Counts in words, for people."""
    return (
        f"Of {counts.all} users and folds: {counts.a_only} served by {printable(a)} alone, {counts.b_only} by "
        f"{printable(b)} alone, {counts.both} by both, {counts.neither} by neither, {counts.mixed} under some seeds "
        "only. Served: a target in the top ten under every seed of the run."
    )
