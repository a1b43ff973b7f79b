"""Events as batches of (history so far, next item), for models that score the end of a sequence only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from protocols.ranking_problem import TrainingData

Negatives = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class PrefixBatch:
    """Rows of one step.

    Attributes
    ----------
    user
        int64 [B]: positions plus one.
    history
        int64 [B, max_length]: item positions plus one, oldest first, padded on the right with 0.
    length
        int64 [B].
    target, negative
        int64 [B]: the item that follows, and a warm item that was released then and that the user has no event with.
    """

    user: np.ndarray
    history: np.ndarray
    length: np.ndarray
    target: np.ndarray
    negative: np.ndarray


def histories(data: TrainingData, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the history before each fitted event, as `history` [R, max_length] and `length` [R] of a batch."""
    prefixes = Prefixes(data, max_length)
    history, length = prefixes.before(np.arange(len(data.user)))
    back = np.argsort(prefixes.row)
    return history[back], length[back]


class Prefixes:
    """Fitted events user by user.

    Attributes
    ----------
    row
        int64 [R]: their numbers in the training data.
    item
        int64 [R]: position of the item of each.
    place
        int64 [R]: how many of the same user came before it.
    """

    def __init__(self, data: TrainingData, max_length: int) -> None:
        self.max_length = max_length
        self.row = np.argsort(data.user, kind="stable")
        self.item = data.item[self.row]
        count = np.bincount(data.user, minlength=len(data.users))
        first = np.cumsum(count) - count
        self.place = np.arange(len(self.row)) - first[data.user[self.row]]

    def before(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`history` and `length` of a batch for some places in this order."""
        length = np.minimum(self.place[at], self.max_length)
        columns = np.arange(self.max_length)
        inside = columns < length[:, None]
        where = np.where(inside, at[:, None] - length[:, None] + columns, 0)
        return np.where(inside, self.item[where] + 1, 0), length


class PrefixBatches:
    """Targets of every user, drawn anew for each epoch, each with the items before it.

    Parameters
    ----------
    data
        What may be learned from.
    negatives
        Draws a negative for each of some rows of the fitted events: `PairBatches.negatives`.
    max_length
        Longest history.
    cap
        Targets a user and epoch; a user with more has others in the next epoch.
    batch
        Targets per step.
    seed
        Batches are a function of seed and epoch alone.
    """

    def __init__(
        self, data: TrainingData, negatives: Negatives, max_length: int, cap: int, batch: int, seed: int
    ) -> None:
        self.data, self.cap, self.batch, self.seed = data, cap, batch, seed
        self._negatives, self._prefixes = negatives, Prefixes(data, max_length)

    @property
    def targets(self) -> int:
        """Number of events that have a history."""
        return int((self._prefixes.place > 0).sum())

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        count = np.bincount(self.data.user, minlength=len(self.data.users)) - 1
        return -(-int(count.clip(0, self.cap).sum()) // self.batch)

    def epoch(self, number: int) -> Iterator[PrefixBatch]:
        """Batches of one epoch."""
        rng = np.random.default_rng([self.seed, number, 0x9F1])
        chosen = rng.permutation(np.flatnonzero(self._prefixes.place > 0))
        user = self.data.user[self._prefixes.row[chosen]]
        # the first `cap` of each user in this random order
        by_user = np.argsort(user, kind="stable")
        count = np.bincount(user, minlength=len(self.data.users))
        nth = np.empty(len(chosen), dtype=np.int64)
        nth[by_user] = np.arange(len(chosen)) - np.repeat(np.cumsum(count) - count, count)
        chosen = chosen[nth < self.cap]
        for at in range(0, len(chosen), self.batch):
            yield self._make(chosen[at : at + self.batch], rng)

    def _make(self, at: np.ndarray, rng: np.random.Generator) -> PrefixBatch:
        rows, prefixes = self._prefixes.row[at], self._prefixes
        return PrefixBatch(
            self.data.user[rows] + 1, *prefixes.before(at), prefixes.item[at] + 1, self._negatives(rows, rng) + 1
        )
