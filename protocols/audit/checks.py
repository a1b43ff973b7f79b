"""Checks of the leak audit: one problem against the log it was built from."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from protocols.audit.feature_statistics import wrong_statistics
from protocols.audit.log_facts import LogFacts
from protocols.dataset import Dataset
from protocols.features import ItemFeatures
from protocols.hashing import drawn
from protocols.indexed_log import sorted_rows
from protocols.ranking_problem import Fold, Problem, Stage
from protocols.row_numbers import consecutive
from protocols.splitting.rolling import utc
from protocols.wording import counted

# Rows compared at once, few enough to stay in cache.
_BLOCK = 1 << 18


class LeakChecks:
    """Checks of one problem against its log. Each returns the first violation as text, or an empty text."""

    def __init__(self, dataset: Dataset, fold: Fold, problem: Problem, stage: Stage, searched: Fold) -> None:
        self.facts = LogFacts.of(dataset)
        self.log = self.facts.log
        self.fold, self.searched, self.stage = fold, searched, stage
        self.training, self.task = problem.training, problem.task
        self.knobs = fold.info["knobs"]
        self.growing = self.knobs.get("targets") == "successive"
        self.shown = "up to each target" if self.growing else "all events before the border and none after"
        self.border, self.end = fold.window(stage)
        # times are in order, so that a border is a row number
        self.past, self.stop = (int(n) for n in np.searchsorted(self.log.time, (self.border, self.end)))
        self.rows = fold.refit if stage == "test" else fold.fit
        self.taken = consecutive(self.rows)
        self.item = self.facts.item_codes(self.training.items)
        self.ranked = self.facts.user_codes(self.task.users)
        self.had = np.bincount(self.log.user[: self.past], minlength=len(self.log.users))
        self.events = np.bincount(self.log.item[self.taken], minlength=len(self.log.items))

    @cached_property
    def fitted_users(self) -> np.ndarray:
        """Codes int64 [U] of the users with fitted rows; -1 for ids that the log does not know."""
        return self.facts.user_codes(self.training.users)

    def row(self, row: int) -> str:
        """Name a row of the log."""
        log = self.log
        user, item = log.users[log.user[row]], log.items[log.item[row]]
        return f"row {row} (user {user!r}, item {item!r}, {self.time(row)})"

    def time(self, row: int) -> str:
        """Name the time of a row."""
        return utc(self.log.time[row])

    def parameters(self) -> str:
        """Check that the fitted rows are those of the fold, and before the border."""
        t, log, n = self.training, self.log, len(self.rows)
        if not len(t.user) == len(t.item) == len(t.timestamp) == n:
            return f"{len(t.user)} rows are fitted on, the fold has {n}"
        late = np.flatnonzero(t.timestamp >= self.border)
        if len(late):
            at = late[0]
            what = f"user {t.users[t.user[at]]!r}, item {t.items[t.item[at]]!r}, {utc(t.timestamp[at])}"
            return f"fitted row {at} ({what}) is not before {utc(self.border)}"
        if t.border != self.border:
            return f"the border of the training data is {utc(t.border)}, that of the fold {utc(self.border)}"
        users = self.fitted_users
        for at in range(0, n, _BLOCK):
            part = slice(at, at + _BLOCK)
            rows = self.rows[part]
            same = users[t.user[part]] == log.user[rows]
            same &= self.item[t.item[part]] == log.item[rows]
            same &= t.timestamp[part] == log.time[rows]
            if not same.all():
                wrong = int(np.argmin(same))
                return f"fitted row {at + wrong} is not {self.row(rows[wrong])}"
        return ""

    def k_core(self) -> str:
        """Check that the fitted rows are all that the protocol allows, the k-core of rows before the border."""
        knobs, rows = self.knobs, self.rows
        border = self.border if knobs["refit"] else self.fold.validation_border
        stop = border - knobs["gap"]
        start = self.log.time[0] if knobs["train_window"] is None else stop - knobs["train_window"]
        first, last = (int(n) for n in np.searchsorted(self.log.time, (start, stop)))
        if knobs["k_core"] <= 1 and isinstance(self.taken, slice) and self.taken == slice(first, last):
            return ""
        wanted = self.facts.k_core(np.arange(first, last), knobs["k_core"])
        if np.array_equal(wanted, rows):
            return ""
        odd = np.setxor1d(wanted, rows)
        if not len(odd):
            return "the fitted rows are out of order or repeated"
        return f"{self.row(odd[0])} is {'' if odd[0] in rows else 'not '}fitted on, against the protocol's rows"

    def popularity(self) -> str:
        """Check that event counts are those of the fitted rows."""
        expected = self.events[self.item]
        if len(self.training.counts) != len(expected):
            return f"there are {len(self.training.counts)} counts for {len(expected)} items"
        wrong = np.flatnonzero(self.training.counts != expected)
        if not len(wrong):
            return ""
        item, count = self.training.items[wrong[0]], self.training.counts[wrong[0]]
        return f"item {item!r} counts {count} events, its fitted rows are {expected[wrong[0]]}"

    def id_maps(self) -> str:
        """Check that only items and users known at the border are numbered, in the order of their raw ids."""
        log, t = self.log, self.training
        if (self.item < 0).any():
            return f"item {t.items[np.argmax(self.item < 0)]!r} is in no row of the dataset"
        allowed = self._allowed()
        allowed |= np.bincount(log.item[: self.past], minlength=len(log.items)) > 0
        future = np.flatnonzero(~allowed[self.item])
        if len(future):
            return f"item {t.items[future[0]]!r} has no event before the border and is no candidate"
        fitted = self.events > 0
        wrong = np.flatnonzero(fitted[self.item] != t.warm)
        if len(wrong):
            where = "in" if fitted[self.item[wrong[0]]] else "not in"
            return f"item {t.items[wrong[0]]!r} is {where} the fitted rows"
        if missing := int(fitted.sum()) - t.n_warm:
            return f"{missing} item(s) of the fitted rows are missing"
        users = self.fitted_users
        late = np.flatnonzero((users < 0) | (self.had[users] == 0))
        if len(late):
            return f"user {t.users[late[0]]!r} has no event before the border"
        for what, codes in (("warm items", self.item[: t.n_warm]), ("cold", self.item[t.n_warm :]), ("users", users)):
            if (np.diff(codes) <= 0).any():
                return f"{what} are not numbered in the order of their raw ids: the order may leak the future"
        return ""

    def histories(self) -> str:
        """Check that a history holds all events of its user before the border (or target, if successive), in order."""
        if (self.ranked < 0).any():
            return f"user {self.task.users[np.argmax(self.ranked < 0)]!r} is in no row of the dataset"
        return self._growing_histories() if self.growing else self._frozen_histories()

    def _frozen_histories(self) -> str:
        log, counts = self.log, self.had[self.ranked]
        lengths = _lengths(self.task.histories)
        wrong = np.flatnonzero(lengths != counts)
        if len(wrong):
            user, at = self.task.users[wrong[0]], wrong[0]
            return (
                f"the history of user {user!r} has {counted(lengths[at], 'event')}, {counts[at]} are before the border"
            )
        if (np.diff(self.ranked) <= 0).any():
            return "users are not ranked in the order of their raw ids, each once"
        past = np.zeros(len(log.users), dtype=np.int64)
        past[self.ranked] = counts
        # in the order by user, the first rows of each ranked user are in the past
        turns = np.stack([past, self.facts.size - past], axis=1).ravel()
        due = np.repeat(np.tile([True, False], len(past)), turns)
        expected = self.facts.item[due]
        shown = self.item.astype(np.int32)[_flat(self.task.histories)]
        wrong = np.flatnonzero(shown != expected)
        if not len(wrong):
            return ""
        row = self.facts.order[np.flatnonzero(due)[wrong[0]]]
        return f"a history has item {log.items[shown[wrong[0]]]!r} in the place of {self.row(row)}"

    def _growing_histories(self) -> str:
        log = self.log
        known = np.zeros(len(log.items), dtype=bool)
        known[self.item] = True
        wanted = np.zeros(len(log.users), dtype=bool)
        wanted[self.ranked] = True
        rows = np.flatnonzero(wanted[log.user[: self.stop]] & known[log.item[: self.stop]])
        rows = rows[sorted_rows(log.user[rows])]
        begin = np.searchsorted(log.user[rows], np.arange(len(log.users) + 1))
        target, _ = self._target_rows
        for at, (user, history) in enumerate(zip(self.ranked, self.task.histories, strict=True)):
            own = rows[begin[user] : begin[user + 1]]
            n = len(history)
            if target[at] >= 0:
                fits = n == np.searchsorted(own, target[at])
            else:  # a target that is no item of the problem: its row is not known
                fits = np.searchsorted(own, self.past) <= n <= len(own)
            if not fits or not np.array_equal(self.item[history], log.item[own[:n]]):
                name = self.task.users[at]
                return f"the history of user {name!r} with {n} events is not what comes before the target (row {at})"
        return ""

    def early_stopping(self) -> str:
        """Check that epochs and options are fitted and validated on events before the border."""
        for fold in dict.fromkeys((self.fold, self.searched)):
            late = np.flatnonzero(self.log.time[consecutive(fold.fit)] >= fold.validation_border)
            if len(late):
                row = fold.fit[late[0]]
                return f"early stopping fits on {self.row(row)}, not before {utc(fold.validation_border)}"
            if not fold.validation_border < fold.validation_end <= self.fold.border:
                return f"the validation window of fold {fold.index} ends {utc(fold.validation_end)}, after the border"
        if self.stage == "validation":
            rows, _ = self._target_rows
            late = rows[rows >= np.searchsorted(self.log.time, self.fold.border)]
            if len(late):
                return f"early stopping is judged by {self.row(late[0])}, not before {utc(self.fold.border)}"
        return ""

    def candidate_set(self) -> str:
        """Check candidates against the policy, and that release times come from no event at or after the border."""
        allowed = self._allowed()
        wrong = np.flatnonzero(self.task.candidates & ~allowed[self.item])
        if len(wrong):
            item = self.training.items[wrong[0]]
            return f"item {item!r} is a candidate against the policy {self.fold.info['candidates']}"
        missing = int(allowed.sum()) - int(self.task.candidates.sum())
        if missing:
            return f"{missing} item(s) that the policy allows are no candidates"
        release = self._release()
        wrong = np.flatnonzero(release != self.training.release)
        if not len(wrong):
            return ""
        item, given = self.training.items[wrong[0]], self.training.release[wrong[0]]
        return f"item {item!r} has release {utc(given)}, known before the border is {utc(release[wrong[0]])}"

    def _release(self) -> np.ndarray:
        never = np.iinfo(np.int64).max
        first = np.full(len(self.log.items), never)
        np.minimum.at(first, self.log.item[self.taken], self.log.time[self.taken])
        first = first[self.item]
        if self.log.release is not None:
            known = self.log.release[self.item]
            dated = ~np.isnan(known)
            first[dated] = np.minimum(first[dated], known[dated].astype(np.int64))
        return np.where(first == never, self.border, first)

    def _allowed(self) -> np.ndarray:
        log, policy = self.log, self.fold.info["candidates"]
        if policy == "catalogue":
            return np.ones(len(log.items), dtype=bool)
        if policy == "released" and log.release is not None:
            return log.release < self.end
        return self.events > 0

    def feature_statistics(self, features: ItemFeatures | None) -> str:
        """Check that mean, scale, whitening and the value of absent items come from the fitted items."""
        if features is None:
            return ""
        if len(features.values) != len(self.training.items):
            return f"features of {len(features.values)} items, the problem has {len(self.training.items)}"
        return wrong_statistics(features, self.events[self.item] > 0, self.training.items)

    def targets(self) -> str:
        """Check that targets are inside the window, new to their user, and complete."""
        if empty := [u for u, n in zip(self.task.users, _lengths(self.task.targets), strict=True) if n == 0]:
            return f"user {empty[0]!r} has no target"
        rows, user = self._target_rows
        known = np.flatnonzero(self._flat_targets >= 0)
        if (rows[known] < 0).any():
            at = known[np.argmax(rows[known] < 0)]
            item = self.training.items[self._flat_targets[at]]
            window = f"{utc(self.border)} to {utc(self.end)}"
            return f"target {item!r} of user {self.log.users[user[at]]!r} has no event in {window}"
        old = self.facts.first[rows[known]]
        if (old < self.past).any():
            return f"a target is not new to its user: {self.row(old[old < self.past][0])}"
        if np.bincount(rows[known] - self.past).max(initial=0) > 1:
            return "a target is counted twice for its user"
        return self._missing_targets(user)

    def _missing_targets(self, user: np.ndarray) -> str:
        inside = np.arange(self.past, self.stop)
        due = inside[self.facts.first[inside] == inside]
        due = due[self.had[self.log.user[due]] >= self.knobs.get("min_history", 1)]
        expected = np.bincount(self.log.user[due], minlength=len(self.log.users))
        if most := self.knobs.get("rank_users", 0):
            there = np.flatnonzero(expected)
            expected[there[~drawn(self.log.users[there], most)]] = 0
        if self.knobs.get("targets") == "first":
            expected = np.minimum(expected, 1)
        found = np.bincount(user, minlength=len(self.log.users))
        wrong = np.flatnonzero(found != expected)
        if not len(wrong):
            return ""
        at = wrong[0]
        return f"user {self.log.users[at]!r} has {found[at]} target(s), the window holds {expected[at]}"

    @cached_property
    def _flat_targets(self) -> np.ndarray:
        """Item positions of all targets, user by user."""
        return _flat(self.task.targets)

    @cached_property
    def _target_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """First row of the window with each target (-1: none), and the code of its user."""
        user = np.repeat(self.ranked, _lengths(self.task.targets))
        position = self._flat_targets
        wanted = np.where(position >= 0, self.facts.pair(user, self.item[position]), -1)
        inside = self.facts.pairs(slice(self.past, self.stop))
        order = sorted_rows(inside)
        at = np.searchsorted(inside, wanted, sorter=order)
        rows = np.full(len(wanted), -1, dtype=np.int64)
        there = np.flatnonzero(at < len(order))
        there = there[inside[order[at[there]]] == wanted[there]]
        rows[there] = order[at[there]] + self.past
        return rows, user


def _flat(pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _lengths(pieces: list[np.ndarray]) -> np.ndarray:
    return np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
