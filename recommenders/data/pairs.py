"""Events as batches of (user, item, negative item), drawn anew for every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocols.ranking_problem import TrainingData
from protocols.row_numbers import distinct

# Rounds in which a negative that the user has taken is drawn again; what is left then stays.
ROUNDS = 4


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Rows of one step.

    Attributes
    ----------
    user, item, negative
        int64 [B]: positions plus one, as RecBole counts. The negative is a warm item that the user has no event with.
    time
        int64 [B]: when the item was taken.
    """

    user: np.ndarray
    item: np.ndarray
    negative: np.ndarray
    time: np.ndarray


class PairBatches:
    """Fitted events in random order, each with a negative.

    Parameters
    ----------
    data
        What may be learned from.
    order, releases
        Warm items in order of release [n_warm], and when each was: those released at an event may be its negatives.
    batch
        Events per step.
    seed
        Batches are a function of seed and epoch alone.
    """

    def __init__(self, data: TrainingData, order: np.ndarray, releases: np.ndarray, batch: int, seed: int) -> None:
        self.user, self.item, self.time, self.order = data.user, data.item, data.timestamp, order
        self.released = np.searchsorted(releases, data.timestamp, side="right")
        self.batch, self.seed, self.n_warm = batch, seed, data.n_warm
        self._taken = distinct(data.user * np.int64(data.n_warm) + data.item)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.user) // self.batch)

    def epoch(self, number: int) -> Iterator[PairBatch]:
        """Batches of one epoch; every event occurs once."""
        rng = np.random.default_rng([self.seed, number, 0xBA7])
        rows = rng.permutation(len(self.user))
        for at in range(0, len(rows), self.batch):
            chosen = rows[at : at + self.batch]
            negative = self.negatives(chosen, rng)
            yield PairBatch(self.user[chosen] + 1, self.item[chosen] + 1, negative + 1, self.time[chosen])

    def negatives(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a warm item for each of some fitted events: released at the time, and without an event of that user."""
        drawn = self.order[rng.integers(0, self.released[rows])]
        for _ in range(ROUNDS):
            again = np.flatnonzero(self._has(self.user[rows], drawn))
            if not len(again):
                break
            drawn[again] = self.order[rng.integers(0, self.released[rows[again]])]
        return drawn

    def _has(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Bool [B]: the user has an event with the item."""
        key = user * np.int64(self.n_warm) + item
        at = np.searchsorted(self._taken, key)
        return self._taken[np.minimum(at, len(self._taken) - 1)] == key
