"""Ranking problem of one border: training data, ranking task, and the scorer interface.

A fold holds two of these: the validation problem (border = start of the validation window) and the test problem
(border = start of the test window). Models see `TrainingData` and, when scoring, users with their histories; they
never see targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from protocols.row_numbers import consecutive, rows_between

Stage = Literal["validation", "test"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Training data of a recommender: events strictly before the border.

    Attributes
    ----------
    items
        Raw ids [M] of all items of the problem: the warm ones (with an event in the fitted rows) first, sorted, then
        the cold ones (only in histories or candidates), sorted. Positions in this array are the integer item ids that
        recommenders use.
    n_warm
        Number of warm items; `items[:n_warm]` are warm. Only warm items may enter a loss, as targets or negatives.
    users
        Raw ids [U] of the users with fitted rows, sorted.
    user, item, timestamp
        int64 [R]: the fitted rows in canonical order, as positions in `users` and `items` and milliseconds UTC.
    border
        Milliseconds UTC; every timestamp is below it.
    end
        Milliseconds UTC: end of the window that is ranked, known from the calendar.
    dated
        True where the releases are those of the data set; False where first events stand in for them.
    release
        int64 [M]: milliseconds UTC from which on an item could be taken: its release, or its first fitted event where
        that is earlier or no release is known; a cold item of unknown release has the border.
    """

    items: np.ndarray
    n_warm: int
    users: np.ndarray
    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    border: int
    release: np.ndarray
    end: int = 0
    dated: bool = False

    @cached_property
    def warm(self) -> np.ndarray:
        """Bool [M]."""
        return np.arange(len(self.items)) < self.n_warm

    @cached_property
    def sequences(self) -> list[np.ndarray]:
        """Item positions of each user's fitted rows in order; one array a user, aligned with `users`."""
        return self.by_user(self.item)

    def by_user(self, values: np.ndarray) -> list[np.ndarray]:
        """Split one value a fitted row [R] into one array a user, in order; aligned with `users`."""
        order = np.argsort(self.user, kind="stable")
        return np.split(values[order], np.cumsum(np.bincount(self.user, minlength=len(self.users)))[:-1])

    @cached_property
    def counts(self) -> np.ndarray:
        """int64 [M]: events per item in the fitted rows."""
        return np.bincount(self.item, minlength=len(self.items))


class Scorer(Protocol):
    """A fitted recommender.

    One that knows no user may have an attribute `shared`, float32 [M]: the scores that every user gets. It is ranked
    without a call of `score` for each of them.
    """

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users.

        Parameters
        ----------
        users
            Raw ids [B]; may hold users that were never fitted.
        histories
            Item positions of all their events before the border, oldest first.

        Returns
        -------
        np.ndarray
            float32 [B, M]; -inf where the model has no score (an unfitted item without features). Never NaN.
        """
        ...


@dataclass(frozen=True, eq=False)
class RankingTask:
    """Ranked users with their histories, candidates and targets.

    Attributes
    ----------
    users
        Raw ids [V], sorted: users with enough history and at least one target; with `targets=successive` one entry a
        target, so that users repeat.
    histories
        Item positions [V] of all events before the border (also of rows not fitted on), oldest first.
    candidates
        Bool [M] over the problem's items. Seen items are masked per user in addition.
    targets
        Item positions [V] of the new items of the window; -1 for a target that is no item of the problem (it counts
        in the metrics and cannot be found).
    seen
        Item positions [V] to mask; None: those of the histories. A protocol that gives a model only part of a
        user's events lists them all here.
    """

    users: np.ndarray
    histories: list[np.ndarray]
    candidates: np.ndarray
    targets: list[np.ndarray]
    seen: list[np.ndarray] | None = None

    @property
    def masked(self) -> list[np.ndarray]:
        """Item positions [V] that are no candidates for their user."""
        return self.histories if self.seen is None else self.seen

    def of_users(self, kept: np.ndarray) -> RankingTask:
        """Return the task of some of the users alone.

        Parameters
        ----------
        kept
            Bool [V].
        """
        at = np.flatnonzero(kept)
        return replace(
            self,
            users=self.users[at],
            histories=[self.histories[i] for i in at],
            targets=[self.targets[i] for i in at],
            seen=None if self.seen is None else [self.seen[i] for i in at],
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """Training data and the ranking task that belongs to it."""

    training: TrainingData
    task: RankingTask


@dataclass(frozen=True, eq=False)
class Fold:
    """One test window of a protocol on a dataset, as row indices; frames are never copied.

    Attributes
    ----------
    index
        0 is the earliest fold.
    validation_border, validation_end, border, end
        Milliseconds UTC. Validation window [validation_border, validation_end), test window [border, end);
        `validation_end` is `border` less the protocol's gap.
    fit, refit
        int64: rows of the log fitted on for early stopping (before validation_border) and for the final parameters
        (before border).
    info
        Borders as UTC text, counts of users, items, interactions, targets, cold targets, dropped rows and why.
    fingerprint
        Hash of dataset content, protocol knobs and borders.
    """

    index: int
    validation_border: int
    validation_end: int
    border: int
    end: int
    fit: np.ndarray
    refit: np.ndarray
    info: dict
    fingerprint: str

    def __getstate__(self) -> dict[str, Any]:
        # consecutive rows, the usual case, are sent to worker processes as two numbers
        return {name: consecutive(value) if name in ("fit", "refit") else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            rows = rows_between(value.start, value.stop) if isinstance(value, slice) else value
            object.__setattr__(self, name, rows)

    def window(self, stage: Stage) -> tuple[int, int]:
        """Border and end of a stage's window, milliseconds UTC."""
        return (self.border, self.end) if stage == "test" else (self.validation_border, self.validation_end)
