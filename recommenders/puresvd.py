"""PureSVD: the history projected on the first singular vectors of the users' items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.data.history_scorer import HistoryScorer, taken
from recommenders.training.options import expect


@dataclass(frozen=True)
class PureSVD(Recommender):
    """Scores h Q Q', with h a user's history and Q the first right singular vectors of the users' items (0 or 1).

    No user has parameters: users without fitted rows are scored by their history like all others. Nothing is learned
    by steps; ids only: cold items score -inf.

    Attributes
    ----------
    factors
        Number of singular vectors; of fewer users or items, as many as there are.
    decay
        Weight of an item of the history relative to the next newer one when scoring; 1 (the paper's): all the same.
    """

    name: ClassVar[str] = "puresvd"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"factors": Range(2, 256, log=True), "decay": Range(0.5, 1.0)}
    paper: ClassVar[str] = (
        "Cremonesi et al., Performance of Recommender Algorithms on Top-N Recommendation Tasks, RecSys 2010"
    )

    factors: int = 16
    decay: float = 1.0

    def fit(self, request: FitRequest) -> FitResult:
        """Find the singular vectors.

        Raises
        ------
        UserError
            If an option makes no sense.
        """
        expect(self, ("factors",), lambda value: value > 0, "a number above 0")
        expect(self, ("decay",), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        data = request.data
        basis = right_singular_vectors(taken(data, np.float64), self.factors).astype(np.float32)
        scorer = HistoryScorer([basis, np.ascontiguousarray(basis.T)], len(data.items), self.decay, binary=True)
        return FitResult(scorer, parameters=basis.size)


def right_singular_vectors(matrix: Any, count: int) -> np.ndarray:
    """Find those of the `count` largest singular values of a sparse array [U, N]; float64 [N, count or min(U, N)]."""
    from scipy.sparse.linalg import svds

    smallest = min(matrix.shape)
    if count >= smallest:  # Lanczos finds fewer than all
        return np.linalg.svd(matrix.toarray(), full_matrices=False)[2].T
    # a start of its own, so that two fits give the same bits
    return svds(matrix, k=count, v0=np.ones(smallest))[2].T
