"""Order, repeats and counts of a log for the leak audit, computed without the code that splits.

Only the integer codes of `IndexedLog` are shared with the split. A mistake there would show here, because the two
arrive at the same facts by different ways.
"""

from __future__ import annotations

from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from protocols.dataset import Dataset
from protocols.errors import DataError
from protocols.indexed_log import IndexedLog, sorted_rows

_FACTS: WeakKeyDictionary[Dataset, LogFacts] = WeakKeyDictionary()


class LogFacts:
    """Order, counts and first occurrences of the rows of a log.

    Attributes
    ----------
    log
        Codes and times of the rows.
    order
        int32 [N]: rows ordered by user, then by place in the log.
    item
        int32 [N]: item codes in that order.
    size
        int64 [U]: rows of each user.
    first
        int32 [N]: the first row of the same (user, item) pair; the row itself where there is none before it.

    Raises
    ------
    DataError
        If the rows are not in order of time: every check of a border relies on it.
    """

    def __init__(self, log: IndexedLog) -> None:
        back = np.flatnonzero(log.time[1:] < log.time[:-1])
        if len(back):
            raise DataError(f"row {back[0] + 1} of the log is older than the row before it")
        self.log = log
        self.size = np.bincount(log.user, minlength=len(log.users))
        self.order = sorted_rows(log.user).astype(np.int32)
        self.item = log.item.astype(np.int32)[self.order]
        pair = self.pairs(slice(None))
        order = sorted_rows(pair)
        pair = pair[order]
        begins = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]])) if len(pair) else np.zeros(0, int)
        self.first = np.empty(len(order), dtype=np.int32)
        self.first[order] = np.repeat(order[begins], np.diff(np.append(begins, len(order))))

    @classmethod
    def of(cls, dataset: Dataset) -> LogFacts:
        """Compute the facts of a dataset once; they are kept for as long as the dataset lives."""
        if dataset not in _FACTS:
            _FACTS[dataset] = cls(dataset.indexed_log)
        return _FACTS[dataset]

    @cached_property
    def _users(self) -> pd.Index:
        return pd.Index(self.log.users)

    @cached_property
    def _items(self) -> pd.Index:
        return pd.Index(self.log.items)

    def user_codes(self, users: np.ndarray) -> np.ndarray:
        """Codes int64 of raw user ids; -1 for ids the log does not know."""
        return self._users.get_indexer(pd.Index(users, dtype=object))

    def item_codes(self, items: np.ndarray) -> np.ndarray:
        """Codes int64 of raw item ids; -1 for ids the dataset does not know."""
        return self._items.get_indexer(pd.Index(items, dtype=object))

    def pair(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """One int64 for each (user code, item code)."""
        return user * np.int64(max(len(self.log.items), 1)) + item

    def pairs(self, rows: np.ndarray | slice) -> np.ndarray:
        """`pair` of some rows."""
        return self.pair(self.log.user[rows], self.log.item[rows])

    def k_core(self, rows: np.ndarray, k: int) -> np.ndarray:
        """Select the rows whose user and item have at least k of them, iterated until all have."""
        while k > 1:
            users, items = (np.bincount(code[rows]) for code in (self.log.user, self.log.item))
            enough = (users[self.log.user[rows]] >= k) & (items[self.log.item[rows]] >= k)
            if enough.all():
                break
            rows = rows[enough]
        return rows
