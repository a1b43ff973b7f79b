"""User-based kNN on the cosine of histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from protocols.ranking_problem import TrainingData
from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.data.history_scorer import newest_of_each, taken
from recommenders.data.recency import recency_weights
from recommenders.data.users import FittedUsers
from recommenders.training.options import expect


@dataclass(frozen=True)
class UserKNN(Recommender):
    """Items of the users whose items are most like those of the history.

    similarity(h, u) = h . x_u / (|h| |x_u| + shrink), with x_u the items of a fitted user (0 or 1) and h a history
    weighted by decay^age. The score of item j is the sum of the similarities of the `neighbours` most similar users
    who took j; a user is no neighbour of himself, and equal similarities at the last place all count. Users without
    fitted rows are scored by their history like all others. Nothing is learned by steps; ids only: cold items score
    -inf.

    Attributes
    ----------
    neighbours
        Users that count.
    shrink
        Added to the denominator, so that one common item of two short histories is no similarity.
    decay
        Weight of an item of the history relative to the next newer one; 1: all the same.
    """

    name: ClassVar[str] = "userknn"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "neighbours": Range(5, 1000, log=True),
        "shrink": Range(0.1, 100.0, log=True),
        "decay": Range(0.5, 1.0),
    }
    paper: ClassVar[str] = (
        "Herlocker et al., An Algorithmic Framework for Performing Collaborative Filtering, SIGIR 1999"
    )

    neighbours: int = 200
    shrink: float = 5.0
    decay: float = 0.95

    def fit(self, request: FitRequest) -> FitResult:
        """Keep who took what.

        Raises
        ------
        UserError
            If an option makes no sense.
        """
        expect(self, ("neighbours",), lambda value: value > 0, "a number above 0")
        expect(self, ("shrink",), lambda value: value >= 0, "a number from 0")
        expect(self, ("decay",), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        return FitResult(NeighbourScorer(request.data, self.neighbours, self.shrink, self.decay))


class NeighbourScorer:
    """Sums of the similarities of the nearest users to a history, see `UserKNN`."""

    def __init__(self, data: TrainingData, neighbours: int, shrink: float, decay: float) -> None:
        self.taken, self.fitted, self.n_items = taken(data), FittedUsers(data), len(data.items)
        self.neighbours, self.shrink, self.decay = neighbours, np.float32(shrink), decay
        self.length = np.sqrt(np.diff(self.taken.indptr)).astype(np.float32)

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        from scipy.sparse import csr_array

        n_warm = self.taken.shape[1]
        known = np.ones(n_warm, dtype=bool)
        rows = recency_weights([newest_of_each(h) for h in histories], known, self.decay)
        similarity = (rows @ self.taken.T).toarray()
        length = np.sqrt((rows * rows).sum(axis=1))[:, None]
        similarity /= np.maximum(length * self.length + self.shrink, np.finfo(np.float32).tiny)
        own = self.fitted.rows(users)
        similarity[own > 0, own[own > 0] - 1] = 0.0
        if similarity.shape[1] > self.neighbours:
            last = np.partition(similarity, -self.neighbours, axis=1)[:, -self.neighbours, None]
            similarity[similarity < last] = 0.0
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        scores[:, :n_warm] = (csr_array(similarity) @ self.taken).toarray()
        return scores
