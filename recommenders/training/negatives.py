"""Candidate negatives per target: items released when it was taken, or all."""

from __future__ import annotations

import numpy as np

from protocols.ranking_problem import TrainingData


def release_order(data: TrainingData, negatives: str) -> tuple[np.ndarray, np.ndarray]:
    """Sort the warm items by release.

    Parameters
    ----------
    negatives
        `released` or `warm`.

    Returns
    -------
    tuple
        int64 [n_warm]: warm items in order of release; int64 [n_warm]: when each of them was, milliseconds UTC (for
        `warm`, before everything else).
    """
    if negatives == "warm":
        return np.arange(data.n_warm), np.full(data.n_warm, np.iinfo(np.int64).min)
    release = data.release[: data.n_warm]
    order = np.argsort(release, kind="stable")
    return order, release[order]
