"""Ridge regression of the items that users take on the features of those they have taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from protocols.features import Standardisation
from protocols.ranking_problem import TrainingData
from recommenders.base import FitRequest, FitResult, Range, Recommender, item_vectors
from recommenders.data.history_scorer import HistoryScorer, taken
from recommenders.training.options import expect


@dataclass(frozen=True)
class Ridge(Recommender):
    """Features in a linear model: the score of item j for a history h is h Z M z_j, with M solved in closed form.

    Z holds the standardised features of the items and a column of ones, so that M also learns which features are
    popular. M minimises |X - X Z M Z'|^2 + l2 |M|^2 over the users' items X (0 or 1), in which no item helps to
    predict itself: the products of an item with itself are left out of Z' X'X Z on the right-hand side of the normal
    equations. It knows no ids: cold items are scored like warm ones, and the only fusion is `replace`, with one layer
    where features have layers (`replace/last`, `replace/12`).

    Attributes
    ----------
    l2
        Ridge penalty, relative to the mean curvature of the squared error in the features.
    decay
        Weight of an item of the history relative to the next newer one when scoring; 1: all the same.
    standardise
        See `ItemFeatures.standardised`.
    """

    name: ClassVar[str] = "ridge"
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    only_fusion: ClassVar[str] = "replace"
    space: ClassVar[Mapping[str, Range]] = {"l2": Range(1e-4, 10.0, log=True), "decay": Range(0.5, 1.0)}
    paper: ClassVar[str] = (
        "Sharma et al., Feature-based Factorized Bilinear Similarity Model for Cold-Start Top-n Item Recommendation, "
        "SDM 2015"
    )

    l2: float = 0.01
    decay: float = 0.9
    standardise: Standardisation = "whiten"  # type: ignore[misc]  # an option here

    def fit(self, request: FitRequest) -> FitResult:
        """Solve the regression.

        Raises
        ------
        UserError
            If the fusion is another one than `replace`, there are no features, or an option makes no sense.
        """
        expect(self, ("l2",), lambda value: value > 0, "a number above 0")
        expect(self, ("decay",), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        vectors = item_vectors(self, request).astype(np.float64)
        vectors = np.pad(vectors, ((0, 0), (0, 1)), constant_values=1.0)
        known = vectors[: request.data.n_warm]
        weights = bilinear_weights(request.data, known, self.l2)
        factors = [known @ weights, np.ascontiguousarray(vectors.T)]
        scorer = HistoryScorer([f.astype(np.float32) for f in factors], len(vectors), self.decay, binary=True)
        return FitResult(scorer, parameters=weights.size)


def bilinear_weights(data: TrainingData, vectors: np.ndarray, l2: float) -> np.ndarray:
    """Solve A M C + l2 mean(diag A) mean(diag C) M = B for M [K, K], by the eigenvalues of A and C.

    A = Z'X'XZ, C = Z'Z and B = Z'(X'X - diag(X'X))Z, with Z the `vectors` [n_warm, K] of the warm items. The means are
    over the features, the constant in the last column left out: its part is as large as all of theirs.
    """
    users = taken(data, np.float64)
    profiles = users @ vectors
    seen, catalogue = profiles.T @ profiles, vectors.T @ vectors
    wanted = seen - vectors.T @ (vectors * users.sum(axis=0)[:, None])
    (a, left), (c, right) = np.linalg.eigh(seen), np.linalg.eigh(catalogue)
    penalty = l2 * np.diag(seen)[:-1].mean() * np.diag(catalogue)[:-1].mean()
    return left @ (left.T @ wanted @ right / (np.outer(a, c) + penalty)) @ right.T
