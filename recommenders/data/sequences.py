"""Whole sequences as padded batches: every position of a sequence is a training example, computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of similar length.

    Attributes
    ----------
    inputs
        int64 [B, L]: item ids (position + 1), padded on the right with 0.
    targets
        int64 [B, L]: the item that follows each input; 0 where padded.
    length
        int64 [B].
    notes
        int64 [B, L]: another number of each target, see `SequenceBatches`; 0 where padded.
    """

    inputs: np.ndarray
    targets: np.ndarray
    length: np.ndarray
    notes: np.ndarray


class SequenceBatches:
    """Users' sequences cut into batches, anew for every epoch.

    A sequence with more than `max_length` targets is cut from its end into pieces of that many, at a random shift, so
    that over the epochs an item is predicted from contexts of all lengths; each target occurs once an epoch. Rows are
    grouped by length, so that little is computed on padding, and the groups come in random order.

    Parameters
    ----------
    sequences
        Item positions of each user, oldest first.
    max_length
        Longest row.
    tokens
        Slots of a batch, padding included.
    seed
        Batches are a function of seed and epoch alone, so an epoch needs no history of random states.
    notes
        One whole number an event, as `sequences` is ordered; None: zeros.
    """

    def __init__(
        self,
        sequences: Sequence[np.ndarray],
        max_length: int,
        tokens: int,
        seed: int,
        notes: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.max_length, self.tokens, self.seed = max_length, tokens, seed
        length = np.array([len(s) for s in sequences], dtype=np.int64)
        first = np.cumsum(length) - length
        # padded by one row, so that a window never reaches beyond the array
        padding = np.zeros(max_length + 1, dtype=np.int64)
        self._ids = np.concatenate([*(np.asarray(s, dtype=np.int64) + 1 for s in sequences), padding])
        self._notes = np.zeros_like(self._ids) if notes is None else np.concatenate([*notes, padding])
        usable = length > 1
        self._first, self._targets = first[usable], length[usable] - 1

    @property
    def targets(self) -> int:
        """Number of training targets in an epoch."""
        return int(self._targets.sum())

    @property
    def steps(self) -> int:
        """Batches of an epoch at least: without padding, and with rows of full length where these exceed a batch."""
        return -(-self.targets // max(self.tokens, self.max_length))

    def epoch(self, number: int) -> Iterator[Batch]:
        """Batches of one epoch."""
        rng = np.random.default_rng([self.seed, number, 0x5E9])
        start, length = self._pieces(rng)
        order = rng.permutation(len(start))
        order = order[np.argsort(-length[order], kind="stable")]
        groups = []
        at = 0
        while at < len(order):
            rows = max(1, self.tokens // int(length[order[at]]))
            groups.append(order[at : at + rows])
            at += rows
        for group in rng.permutation(len(groups)):
            rows = groups[group]
            yield self._batch(start[rows], length[rows])

    def _pieces(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """First input and number of targets of each piece."""
        size = self.max_length
        shift = np.where(self._targets > size, rng.integers(0, size, len(self._targets)), 0)
        # the newest piece holds `shift` targets if that is not zero, the oldest what is left over
        whole = -(-(self._targets - shift) // size)
        count = whole + (shift > 0)
        user = np.repeat(np.arange(len(count)), count)
        nth = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
        end = self._targets[user] - shift[user] - (nth - (shift > 0)[user]) * size
        end = np.minimum(end, self._targets[user])
        newest = (nth == 0) & (shift > 0)[user]
        begin = np.where(newest, end - shift[user], np.maximum(end - size, 0))
        return self._first[user] + begin, end - begin

    def _batch(self, start: np.ndarray, length: np.ndarray) -> Batch:
        columns = np.arange(length.max())
        inside = columns < length[:, None]
        at = start[:, None] + columns
        inputs, targets, notes = (
            np.where(inside, x, 0) for x in (self._ids[at], self._ids[at + 1], self._notes[at + 1])
        )
        return Batch(inputs, targets, length, notes)


def pad_histories(histories: Sequence[np.ndarray], max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Last `max_length` items of each history as ids, padded on the right.

    Returns
    -------
    tuple
        int64 [B, L] and lengths int64 [B]. An empty history is one padding slot: the model then says what it says of
        a user it knows nothing of.
    """
    recent = [np.asarray(h, dtype=np.int64)[-max_length:] + 1 for h in histories]
    length = np.array([len(h) for h in recent], dtype=np.int64)
    inside = np.arange(max(int(length.max(initial=1)), 1)) < length[:, None]
    rows = np.zeros(inside.shape, dtype=np.int64)
    if length.any():
        rows[inside] = np.concatenate(recent)
    return rows, np.maximum(length, 1)
