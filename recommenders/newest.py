"""Newest first: the control that knows neither users nor events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recommenders.base import FitRequest, FitResult, Recommender
from recommenders.pop import PopScorer


@dataclass(frozen=True)
class Newest(Recommender):
    """Items by their release, newest first, the same list for everybody.

    Cold items stand where their release puts them. Where no release is known, an item's is its first event in the
    fitted rows, and cold items score -inf. See `TrainingData.release`.
    """

    name: ClassVar[str] = "newest"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False

    def fit(self, request: FitRequest) -> FitResult:
        """Order the releases."""
        data = request.data
        # ranks, since milliseconds do not fit into float32
        _, scores = np.unique(data.release, return_inverse=True)
        known = data.warm | data.dated
        return FitResult(PopScorer(np.where(known, scores, -np.inf).astype(np.float32)))
