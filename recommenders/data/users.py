"""Users by row: fitted ones, and popularity for all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.ranking_problem import TrainingData


class FittedUsers:
    """Rows of the users with fitted events; others get the logarithm of each warm item's count as scores."""

    def __init__(self, data: TrainingData) -> None:
        self._rows = {user: row for row, user in enumerate(data.users, 1)}
        self._popularity = np.log1p(data.counts[: data.n_warm]).astype(np.float32)

    def rows(self, users: Sequence[str]) -> np.ndarray:
        """Rows int64 [B], from 1; 0: no fitted events."""
        return np.array([self._rows.get(user, 0) for user in users], dtype=np.int64)

    def fill(self, scores: np.ndarray, rows: np.ndarray) -> None:
        """Put popularity into the scores [B, M] of users without fitted events; cold items get -inf."""
        scores[rows == 0] = -np.inf
        scores[rows == 0, : len(self._popularity)] = self._popularity
