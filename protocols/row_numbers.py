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
