"""Recency weights: exponential decay over the items of a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def recency_weights(histories: Sequence[np.ndarray], known: np.ndarray, decay: float) -> Any:
    """Weight the items of histories by decay^age, age counted from the newest item of the history, known or not.

    Parameters
    ----------
    histories
        Item positions [B], oldest first.
    known
        Bool [N]: items that get a weight. The others, and those from N on, get none.
    decay
        Weight of an item relative to the next newer one; 1: all the same.

    Returns
    -------
    csr_array
        float32 [B, N]; an item that stands several times in a history weighs their sum.
    """
    from scipy.sparse import csr_array

    count = len(known)
    or_beyond = np.append(known, False)
    kept = [np.asarray(h, dtype=np.int64)[::-1] for h in histories]
    weights = [np.float32(decay) ** np.arange(len(h), dtype=np.float32) for h in kept]
    there = [or_beyond[np.minimum(h, count)] for h in kept]
    length = [int(t.sum()) for t in there]
    return csr_array(
        (
            np.concatenate([np.zeros(0, np.float32), *(w[t] for w, t in zip(weights, there, strict=True))]),
            np.concatenate([np.zeros(0, np.int64), *(h[t] for h, t in zip(kept, there, strict=True))]),
            np.concatenate([[0], np.cumsum(length)]),
        ),
        shape=(len(histories), count),
    )
