"""The leak audit: everything a problem holds is checked again against the raw log.

The checks share no code with the split beyond the integer codes of the log, so that a mistake there shows here. They
are cheap enough to run inside every `bench run`; the verdict goes into the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from protocols.dataset import Dataset
from protocols.errors import BenchError
from protocols.features import ItemFeatures
from protocols.indexed import IndexedLog
from protocols.problem import Fold, Problem
from protocols.splits import utc

Verdict = dict[str, object]
Stage = Literal["validation", "test"]


def audit(
    dataset: Dataset, fold: Fold, problem: Problem, stage: Stage = "test", features: ItemFeatures | None = None
) -> list[Verdict]:
    """Run all checks and insist on them.

    Parameters
    ----------
    dataset, fold
        What the problem was made from.
    problem
        As models get it.
    stage
        Which of the fold's two problems it is.
    features
        As aligned to the problem's items, before an extractor's `on_items` permutes or flattens them.

    Returns
    -------
    list of dict
        check, ok, detail; one a check.

    Raises
    ------
    BenchError
        If a check fails; names the first offending row.
    """
    found = verdicts(dataset, fold, problem, stage, features)
    failed = [v for v in found if not v["ok"]]
    if failed:
        raise BenchError(
            f"leak audit, fold {fold.index}, {stage}: {failed[0]['check']}: {failed[0]['detail']}",
            remedy="this result would use information from after the border; it is not recorded",
        )
    return found


def verdicts(
    dataset: Dataset, fold: Fold, problem: Problem, stage: Stage = "test", features: ItemFeatures | None = None
) -> list[Verdict]:
    """Run all checks; see `audit`, which raises where this one reports."""
    case = _Case(dataset, fold, problem, stage)
    checks: list[tuple[str, Callable[[], str], str]] = [
        ("parameters", case.parameters, f"{len(problem.training.user)} fitted rows, all before {utc(case.border)}"),
        ("k-core", case.k_core, f"rows selected from before the border alone, k={fold.info['knobs']['k_core']}"),
        ("early stopping", case.early_stopping, f"validation ends {utc(fold.validation_end)}"),
        ("popularity", case.popularity, "event counts are those of the fitted rows"),
        ("id map", case.id_map, f"{len(problem.training.items)} items, {len(problem.training.users)} users"),
        ("warm items", case.warm, f"{problem.training.n_warm} warm items, the items of the fitted rows"),
        ("histories", case.histories, f"{len(problem.task.users)} users, all events before the border, none after"),
        ("targets", case.targets, "all inside the window and new to their user"),
        ("candidates", case.candidates, f"{int(problem.task.candidates.sum())}, {fold.info['candidates']}"),
    ]
    if features is not None:
        checks.append(
            (
                "feature statistics",
                lambda: case.feature_statistics(features),
                "mean and scale are those of warm items",
            )
        )
    out: list[Verdict] = []
    for name, check, good in checks:
        bad = check()
        out.append({"check": name, "ok": not bad, "detail": bad or good})
    return out


class _Case:
    """One problem and the log it must agree with. Each check returns what is wrong, or an empty text."""

    def __init__(self, dataset: Dataset, fold: Fold, problem: Problem, stage: Stage) -> None:
        self.log = IndexedLog.of(dataset)
        self.fold, self.training, self.task = fold, problem.training, problem.task
        self.border, self.end = fold.window(stage)
        self.rows = fold.refit if stage == "test" else fold.fit
        self.item = np.searchsorted(self.log.items, self.training.items)
        self.ranked = np.searchsorted(self.log.users, self.task.users)
        self.past = self.log.time < self.border

    def _row(self, row: int) -> str:
        log = self.log
        user, item = log.users[log.user[row]], log.items[log.item[row]]
        return f"row {row} (user {user!r}, item {item!r}, {utc(log.time[row])})"

    def parameters(self) -> str:
        t, log = self.training, self.log
        late = np.flatnonzero(t.timestamp >= self.border)
        if len(late):
            at = late[0]
            what = f"user {t.users[t.user[at]]!r}, item {t.items[t.item[at]]!r}, {utc(t.timestamp[at])}"
            return f"fitted row {at} ({what}) is not before {utc(self.border)}"
        if len(t.user) != len(self.rows):
            return f"{len(t.user)} rows are fitted on, the fold has {len(self.rows)}"
        same = t.users[t.user] == log.users[log.user[self.rows]]
        same &= self.item[t.item] == log.item[self.rows]
        same &= t.timestamp == log.time[self.rows]
        return "" if same.all() else f"fitted row {np.argmin(same)} is not {self._row(self.rows[np.argmin(same)])}"

    def k_core(self) -> str:
        log, knobs = self.log, self.fold.info["knobs"]
        border = self.border if knobs["refit"] else self.fold.validation_border
        start = -np.inf if knobs["train_window"] is None else border - knobs["gap"] - knobs["train_window"]
        rows = np.flatnonzero((log.time < border - knobs["gap"]) & (log.time >= start))
        core = pd.DataFrame({"user": log.user[rows], "item": log.item[rows]}, index=rows)
        while knobs["k_core"] > 1:
            size = pd.concat([core[c].map(core[c].value_counts()) for c in ("user", "item")], axis=1).min(axis=1)
            if (size >= knobs["k_core"]).all():
                break
            core = core[size >= knobs["k_core"]]
        odd = np.setxor1d(core.index.to_numpy(), self.rows)
        if not len(odd):
            return ""
        return f"{self._row(odd[0])} is {'not ' if odd[0] in core.index else ''}fitted on, against the protocol's rows"

    def early_stopping(self) -> str:
        fold = self.fold
        late = fold.fit[self.log.time[fold.fit] >= fold.validation_border]
        if len(late):
            return f"early stopping fits on {self._row(late[0])}, not before {utc(fold.validation_border)}"
        if not fold.validation_border < fold.validation_end <= fold.border:
            return f"the validation window ends {utc(fold.validation_end)}, after the border {utc(fold.border)}"
        return ""

    def popularity(self) -> str:
        expected = np.bincount(self.log.item[self.rows], minlength=len(self.log.items))[self.item]
        wrong = np.flatnonzero(self.training.counts != expected)
        if not len(wrong):
            return ""
        item, count = self.training.items[wrong[0]], self.training.counts[wrong[0]]
        return f"item {item!r} counts {count} events, its fitted rows are {expected[wrong[0]]}"

    def id_map(self) -> str:
        log = self.log
        unknown = np.flatnonzero(log.items[np.minimum(self.item, len(log.items) - 1)] != self.training.items)
        if len(unknown):
            return f"item {self.training.items[unknown[0]]!r} is in no row of the dataset"
        allowed = self._allowed()
        allowed[log.item[self.past]] = True
        future = np.flatnonzero(~allowed[self.item])
        if len(future):
            return f"item {self.training.items[future[0]]!r} has no event before the border and is no candidate"
        known = set(log.users[np.unique(log.user[self.past])])
        late = [u for u in self.training.users if u not in known]
        return f"user {late[0]!r} has no event before the border" if late else ""

    def warm(self) -> str:
        fitted = np.zeros(len(self.log.items), dtype=bool)
        fitted[self.log.item[self.rows]] = True
        wrong = np.flatnonzero(fitted[self.item] != self.training.warm)
        if len(wrong):
            item = self.training.items[wrong[0]]
            return f"item {item!r} is {'in' if fitted[self.item[wrong[0]]] else 'not in'} the fitted rows"
        missing = int(fitted.sum()) - self.training.n_warm
        return f"{missing} item(s) of the fitted rows are missing" if missing else ""

    def histories(self) -> str:
        log = self.log
        wanted = np.zeros(len(log.users), dtype=bool)
        wanted[self.ranked] = True
        rows = np.flatnonzero(self.past & wanted[log.user])
        rows = rows[np.lexsort((rows, log.user[rows]))]
        counts = np.bincount(log.user[rows], minlength=len(log.users))[self.ranked]
        for user, history, count in zip(self.task.users, self.task.histories, counts, strict=True):
            if len(history) != count:
                return f"the history of user {user!r} has {len(history)} events, {count} are before the border"
        shown = self.item[_flat(self.task.histories)]
        wrong = np.flatnonzero(shown != log.item[rows])
        if not len(wrong):
            return ""
        return f"a history has item {log.items[shown[wrong[0]]]!r} in the place of {self._row(rows[wrong[0]])}"

    def targets(self) -> str:
        log, width = self.log, max(len(self.log.items), 1)
        lengths = [len(t) for t in self.task.targets]
        user, position = np.repeat(self.ranked, lengths), _flat(self.task.targets)
        if empty := [u for u, n in zip(self.task.users, lengths, strict=True) if n == 0]:
            return f"user {empty[0]!r} has no target"
        known = position >= 0
        pairs = user[known] * width + self.item[position[known]]
        inside = np.flatnonzero(~self.past & (log.time < self.end))
        outside = np.flatnonzero(~np.isin(pairs, log.user[inside] * width + log.item[inside]))
        if len(outside):
            at = np.flatnonzero(known)[outside[0]]
            return (
                f"target {self.training.items[position[at]]!r} of user {log.users[user[at]]!r} has no event in "
                f"{utc(self.border)} to {utc(self.end)}"
            )
        before = np.flatnonzero(self.past)
        old = before[np.isin(log.user[before] * width + log.item[before], pairs)]
        if len(old):
            return f"a target is not new to its user: {self._row(old[0])}"
        return "a target is counted twice for its user" if len(pairs) != len(np.unique(pairs)) else ""

    def candidates(self) -> str:
        allowed = self._allowed()
        wrong = np.flatnonzero(self.task.candidates & ~allowed[self.item])
        if len(wrong):
            item = self.training.items[wrong[0]]
            return f"item {item!r} is a candidate against the policy {self.fold.info['candidates']}"
        missing = int(allowed.sum()) - int(self.task.candidates.sum())
        return f"{missing} item(s) that the policy allows are no candidates" if missing else ""

    def feature_statistics(self, features: ItemFeatures) -> str:
        if len(features.values) != len(self.training.items):
            return f"features of {len(features.values)} items, the problem has {len(self.training.items)}"
        fitted = np.zeros(len(self.log.items), dtype=bool)
        fitted[self.log.item[self.rows]] = True
        known = features.values[features.present & fitted[self.item]].astype(np.float32)
        if not len(known):
            return ""
        close = np.isclose(known.mean(axis=0), features.mean, rtol=1e-4, atol=1e-5 * max(features.scale, 1e-6))
        scale = float(np.sqrt(np.mean(np.square(known.std(axis=0)))))
        if close.all() and np.isclose(scale if scale > 0 else 1.0, features.scale, rtol=1e-3):
            return ""
        first = int(np.argmin(close.reshape(-1)))
        return f"mean or scale of {features.space_id} are not those of the fitted items, first in dimension {first}"

    def _allowed(self) -> np.ndarray:
        log, policy = self.log, self.fold.info["candidates"]
        if policy == "catalogue":
            return np.ones(len(log.items), dtype=bool)
        if policy == "released" and log.release is not None:
            return log.release < self.end
        allowed = np.zeros(len(log.items), dtype=bool)
        allowed[log.item[self.rows]] = True
        return allowed


def _flat(pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *pieces])
