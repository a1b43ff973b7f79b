"""Popularity: the controls that know no user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.training.options import expect

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Pop(Recommender):
    """Items by their number of events in the fitted rows, the same list for everybody.

    Cold items score -inf: nothing was counted.
    """

    name: ClassVar[str] = "pop"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False

    def fit(self, request: FitRequest) -> FitResult:
        """Count."""
        data = request.data
        scores = np.where(data.warm, data.counts, -np.inf).astype(np.float32)
        return FitResult(PopScorer(scores))


@dataclass(frozen=True)
class RecentPop(Recommender):
    """Items by their events in the fitted rows, a recent one counting more, the same list for everybody.

    An event that lies `half_life` days before the border counts half of one at the border. Cold items score -inf.

    Attributes
    ----------
    half_life
        Days.
    """

    name: ClassVar[str] = "recent-pop"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"half_life": Range(0.25, 60.0, log=True)}

    half_life: float = 2.0

    def fit(self, request: FitRequest) -> FitResult:
        """Count with weights.

        Raises
        ------
        UserError
            If the half-life is not above 0.
        """
        expect(self, ("half_life",), lambda value: value > 0, "a number of days above 0")
        data = request.data
        # the newest event counts one: powers of a far border would all be zero
        newest = data.timestamp.max(initial=0)
        weight = 0.5 ** ((newest - data.timestamp) / (self.half_life * DAY_MS))
        counts = np.bincount(data.item, weights=weight, minlength=len(data.items))
        return FitResult(PopScorer(np.where(data.warm, counts, -np.inf).astype(np.float32)))


@dataclass(frozen=True, eq=False)
class PopScorer:
    """Scores float32 [M] that every user gets; see `protocols.ranking_problem.Scorer`."""

    shared: np.ndarray

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return float32 [B, M]."""
        return np.tile(self.shared, (len(users), 1))
