"""Linear recommendation from a history: who took what as a matrix, and scores linear in the items of a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from protocols.ranking_problem import TrainingData
from protocols.row_numbers import distinct_pairs
from recommenders.data.recency import recency_weights


def taken(data: TrainingData, dtype: type = np.float32) -> Any:
    """Mark the warm items that each user has in the fitted rows.

    Returns
    -------
    csr_array
        [U, n_warm] of ones, whatever the number of times that an item was taken.
    """
    from scipy.sparse import coo_array

    pairs = distinct_pairs(data.user, data.item)
    shape = (len(data.users), data.n_warm)
    return coo_array((np.ones(len(pairs[0]), dtype), pairs), shape=shape).tocsr()


class HistoryScorer:
    """Scores h W1 W2 ..., with h the weights of a history's warm items; items without a column score -inf.

    Parameters
    ----------
    weights
        Arrays, dense or sparse, the first of n_warm rows, the last of a column for each item that is scored, the warm
        ones first.
    n_items
        Items of the problem.
    decay
        Weight of an item of the history relative to the next newer one, see `recency_weights`.
    binary
        Whether an item that stands several times in a history counts once, at its newest place.
    """

    def __init__(self, weights: Sequence[Any], n_items: int, decay: float, binary: bool) -> None:
        self.weights, self.n_items, self.decay, self.binary = weights, n_items, decay, binary

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        n_warm = self.weights[0].shape[0]
        if self.binary:
            histories = [newest_of_each(h) for h in histories]
        rows = recency_weights(histories, np.ones(n_warm, dtype=bool), self.decay)
        for weight in self.weights:
            rows = rows @ weight
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        scores[:, : rows.shape[1]] = rows if isinstance(rows, np.ndarray) else rows.toarray()
        return scores


def newest_of_each(history: np.ndarray) -> np.ndarray:
    """Keep the newest of equal items of a history, oldest first."""
    _, from_end = np.unique(history[::-1], return_index=True)
    return history[np.sort(len(history) - 1 - from_end)]
