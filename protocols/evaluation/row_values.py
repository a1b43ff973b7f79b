"""Per-user values of a row of a board: a number for each user of each fold under each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from protocols.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd


class Result(NamedTuple):
    """Metrics of the users of one fold under one seed, each [users] like the ids; fast where all share sorted ids."""

    seed: int
    fold: int
    users: np.ndarray
    metrics: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RowValues:
    """Per-user values of one metric.

    Attributes
    ----------
    fold, user
        [N]: pairs, each once, sorted by fold, then by user.
    seeds
        In ascending order.
    values
        float64 [S, N]; NaN for a user without a value under a seed.
    """

    fold: np.ndarray
    user: np.ndarray
    seeds: tuple[int, ...]
    values: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame, name: str = "") -> Self:
        """Read a tidy frame [seed, fold, user_id, value], in any order; rows without a value (NaN) do not count.

        Raises
        ------
        BenchError
            If a user is twice in a fold under one seed; `name` of the row, for the message.
        """
        known = frame.dropna(subset="value")
        keys = known[["fold", "user_id", "seed"]]
        for fold, user, _ in keys[keys.duplicated()].itertuples(index=False, name=None):
            raise _not_once(name, user, fold, known["seed"].nunique())
        table = known.set_index([*keys])["value"].unstack("seed")
        fold, user = (table.index.get_level_values(name).to_numpy() for name in ("fold", "user_id"))
        return cls(fold, user, tuple(table.columns.to_numpy().tolist()), table.to_numpy(np.float64).T)

    @classmethod
    def join(cls, results: Sequence[Result], name: str = "") -> dict[str, Self]:
        """Join the results of a row: the values of every metric that all of them hold.

        Raises
        ------
        BenchError
            If a seed and fold is there twice, or a user in one; `name` of the row, for the message.
        """
        if len({(one.seed, one.fold) for one in results}) < len(results):
            raise BenchError(f"row {name}: two results of one seed and fold")
        seeds = tuple(sorted({one.seed for one in results}))
        metrics = [one for one in results[0].metrics if all(one in other.metrics for other in results)]
        folds, users, blocks = [], [], []
        for fold in sorted({one.fold for one in results}):
            mine = [one for one in results if one.fold == fold]
            ids, places = _places([one.users for one in mine])
            block = np.full((len(metrics), len(seeds), len(ids)), np.nan)
            for one, place in zip(mine, places, strict=True):
                if len(ids) < len(place) or np.bincount(place).max(initial=0) > 1:
                    raise _not_once(name, ids[np.argmax(np.bincount(place))], fold, len(seeds))
                block[:, seeds.index(one.seed), place] = [one.metrics[metric] for metric in metrics]
            folds.append(np.full(len(ids), fold))
            users.append(ids)
            blocks.append(block)
        every, whole, values = np.concatenate(folds), np.concatenate(users), np.concatenate(blocks, axis=2)
        return {metric: cls(every, whole, seeds, one) for metric, one in zip(metrics, values, strict=True)}

    @property
    def has_value(self) -> np.ndarray:
        """Bool [N]: pairs with a value under some seed."""
        return ~np.isnan(self.values).all(axis=0)

    @cached_property
    def seed_means(self) -> np.ndarray:
        """float64 [S]: mean over users in a fold, then over folds."""
        if not len(self.fold):
            return np.full(len(self.seeds), np.nan)
        starts = np.flatnonzero(np.concatenate([[True], self.fold[1:] != self.fold[:-1]]))
        known = ~np.isnan(self.values)
        sums = np.add.reduceat(np.where(known, self.values, 0.0), starts, axis=1)
        return mean_of_known(_ratio(sums, np.add.reduceat(known, starts, axis=1, dtype=np.int64)))

    @property
    def mean(self) -> float:
        """Board value: mean over users in a fold, then over folds, then over seeds; NaN without any value."""
        return float(mean_of_known(self.seed_means))

    def complete(self, name: str = "") -> Self:
        """Leave out users without a value.

        Raises
        ------
        BenchError
            If a user has a value under some of the seeds only; `name` of the row, for the message.
        """
        known = ~np.isnan(self.values)
        if known.all():
            return self
        kept = known.any(axis=0)
        seeds = known.any(axis=1)
        odd = np.flatnonzero(kept & ~known[seeds].all(axis=0))
        for at in odd:
            raise _not_once(name, self.user[at], self.fold[at], seeds.sum())
        held = tuple(seed for seed, there in zip(self.seeds, seeds, strict=True) if there)
        return type(self)(self.fold[kept], self.user[kept], held, self.values[np.ix_(seeds, kept)])


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Average over the last axis without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return sums / counts


def _not_once(name: str, user: object, fold: object, seeds: int) -> BenchError:
    return BenchError(f"row {name}: user {user!r} of fold {fold} is not there once for each of {seeds} seeds")


def _places(lists: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return all users of some lists, sorted, and the places of each list's users among them."""
    first = lists[0]
    if all(one is first for one in lists) and (first[1:] > first[:-1]).all():
        return first, [np.arange(len(first))] * len(lists)
    users, places = np.unique(np.concatenate(lists), return_inverse=True)
    return users, np.split(places, np.cumsum([len(one) for one in lists])[:-1])
