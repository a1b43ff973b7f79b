"""A dataset's log as integers: what splits, tasks and audits compute with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from protocols.dataset import Dataset

_CACHE: WeakKeyDictionary[Dataset, IndexedLog] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class IndexedLog:
    """Interactions of a dataset as codes into sorted raw ids; rows stay in the dataset's canonical order.

    Codes are order-preserving (code order = raw id order) and never leave this package: a problem numbers its items
    anew from what is known before its border.

    Attributes
    ----------
    users
        Raw ids [U], sorted.
    items
        Raw ids [I] of every row of `items`, sorted.
    user, item
        int64 [N]: codes into `users` and `items`.
    time
        int64 [N]: milliseconds UTC, non-decreasing.
    release
        float64 [I]: milliseconds UTC, NaN where unknown; None without a `release` column.
    """

    users: np.ndarray
    items: np.ndarray
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    release: np.ndarray | None

    @classmethod
    def of(cls, dataset: Dataset) -> IndexedLog:
        """Index a dataset, once: the result is kept for as long as the dataset lives."""
        if dataset not in _CACHE:
            log = dataset.interactions
            user, users = pd.factorize(log["user_id"], sort=True)
            release = dataset.items["release"].to_numpy(np.float64) if "release" in dataset.items else None
            _CACHE[dataset] = cls(
                users=np.asarray(users, dtype=object),
                items=dataset.items.index.to_numpy(dtype=object),
                user=user.astype(np.int64, copy=False),
                item=dataset.items.index.get_indexer(pd.Index(log["item_id"])).astype(np.int64, copy=False),
                time=log["timestamp"].to_numpy(),
                release=release,
            )
        return _CACHE[dataset]

    def before(self, time: int) -> int:
        """Count the rows strictly before a time; they are rows 0 .. count-1."""
        return int(np.searchsorted(self.time, time, side="left"))

    @cached_property
    def by_user(self) -> np.ndarray:
        """int64 [N]: row numbers ordered by user, then by canonical order."""
        return np.argsort(self.user, kind="stable")

    @cached_property
    def first(self) -> np.ndarray:
        """Bool [N]: rows that are the first event of their (user, item) pair in canonical order."""
        pair = self.user * max(len(self.items), 1) + self.item
        return ~pd.Series(pair).duplicated().to_numpy()

    def rows_of(self, users: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows below `limit` of some users, ordered by user, then canonically.

        Parameters
        ----------
        users
            User codes [V], sorted and unique.
        limit
            Row number; see `before`.

        Returns
        -------
        tuple
            Row numbers [sum of counts], and the count of each user [V].
        """
        wanted = np.zeros(len(self.users), dtype=bool)
        wanted[users] = True
        rows = self.by_user[wanted[self.user[self.by_user]]]
        rows = rows[rows < limit]
        return rows, np.bincount(self.user[rows], minlength=len(self.users))[users]
