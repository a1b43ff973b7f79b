"""Numbers of consecutive rows of a log: a slice where they are indices, one shared array where they are values."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=1)
def _numbers(count: int) -> np.ndarray:
    found = np.arange(count)
    found.flags.writeable = False  # all folds share it
    return found


def rows_between(start: int, stop: int) -> np.ndarray:
    """Row numbers start .. stop-1, a view: the folds of a large log share one array."""
    return _numbers(1 << max(stop, 1).bit_length())[start:stop]


def consecutive(rows: np.ndarray) -> np.ndarray | slice:
    """Turn consecutive rows into a slice: indexing with it is a view, not a copy."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (rows[1:] > rows[:-1]).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def distinct(values: np.ndarray) -> np.ndarray:
    """Sort values, each once.

    `np.unique` of numpy 2.3 and later takes thirty to a hundred times as long for millions of whole numbers most of
    which differ: it fills a hash table first.

    Parameters
    ----------
    values
        [N], of any type that can be sorted.
    """
    ordered = np.sort(values)
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]


def distinct_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort pairs of numbers by the first, then by the second, each once.

    Parameters
    ----------
    first, second
        int64 [N], none below 0; the product of their largest values fits into 63 bits.
    """
    width = np.int64(second.max(initial=0) + 1)
    left, right = np.divmod(distinct(first * width + second), width)
    return left, right
