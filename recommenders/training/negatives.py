"""Candidate negatives per target: items released when it was taken, or all."""

from __future__ import annotations

import numpy as np

from protocols.ranking_problem import TrainingData


def release_order(data: TrainingData, negatives: str) -> tuple[np.ndarray, np.ndarray]:
    """Sort the warm items by release and count those released at each fitted event.

    Parameters
    ----------
    negatives
        `released` or `warm`.

    Returns
    -------
    tuple
        int64 [n_warm]: warm items in order of release; int64 [R]: how many of them were released at each fitted event
        (all of them for `warm`).
    """
    if negatives == "warm":
        return np.arange(data.n_warm), np.full(len(data.item), data.n_warm)
    release = data.release[: data.n_warm]
    order = np.argsort(release, kind="stable")
    return order, np.searchsorted(release[order], data.timestamp, side="right")
