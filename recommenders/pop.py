"""Popularity: the control that knows no user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recommenders.base import FitRequest, FitResult, Recommender


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


@dataclass(frozen=True, eq=False)
class PopScorer:
    """Scores float32 [M] that every user gets."""

    scores: np.ndarray

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return float32 [B, M]."""
        return np.tile(self.scores, (len(users), 1))
