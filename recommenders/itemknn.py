"""Item-based kNN on co-occurrence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.data.history_scorer import HistoryScorer, taken
from recommenders.training.options import expect


@dataclass(frozen=True)
class ItemKNN(Recommender):
    """Cosine of item columns with shrinkage, weighted by how recent an item of the history is.

    similarity(i, j) = n_ij / (sqrt(n_i n_j) + shrink), with n the number of users; of each item the `neighbours` most
    similar ones are kept. The score of j is the sum over the history of decay^age times similarity, age counted from
    the newest item. Nothing is learned by steps; ids only: cold items score -inf.

    Attributes
    ----------
    neighbours
        Kept for each item.
    shrink
        Added to the denominator, so that a few common users are no similarity.
    decay
        Weight of an item of the history relative to the next newer one; 1: all the same.
    """

    name: ClassVar[str] = "itemknn"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "neighbours": Range(5, 500, log=True),
        "shrink": Range(1.0, 500.0, log=True),
        "decay": Range(0.3, 1.0),
    }
    paper: ClassVar[str] = "Deshpande and Karypis, Item-based Top-N Recommendation Algorithms, TOIS 2004"

    neighbours: int = 200
    shrink: float = 20.0
    decay: float = 0.9

    def fit(self, request: FitRequest) -> FitResult:
        """Count the users that items have in common.

        Raises
        ------
        UserError
            If an option makes no sense.
        """
        expect(self, ("neighbours",), lambda value: value > 0, "a number above 0")
        expect(self, ("shrink",), lambda value: value >= 0, "a number from 0")
        expect(self, ("decay",), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        data = request.data
        users = taken(data)
        common = (users.T @ users).tocsr()
        count = np.sqrt(common.diagonal())
        common.setdiag(0)
        row = np.repeat(np.arange(data.n_warm), np.diff(common.indptr))
        common.data /= count[row] * count[common.indices] + np.float32(self.shrink)
        nearest = _nearest(common, self.neighbours)
        return FitResult(HistoryScorer([nearest], len(data.items), self.decay, binary=False))


def _nearest(similarity: Any, count: int) -> Any:
    """Keep the `count` largest values of each row of a CSR array; equal ones by position."""
    starts = similarity.indptr
    for row in np.flatnonzero(np.diff(starts) > count):
        part = slice(starts[row], starts[row + 1])
        order = np.lexsort((similarity.indices[part], -similarity.data[part]))
        similarity.data[part][order[count:]] = 0.0
    similarity.eliminate_zeros()
    return similarity
