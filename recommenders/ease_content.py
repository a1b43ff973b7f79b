"""EASE with a content kernel: features of the items stand beside the users' items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from protocols.features import Standardisation
from recommenders.base import FitRequest, FitResult, Range, item_vectors
from recommenders.data.history_scorer import HistoryScorer
from recommenders.ease import Ease, gram_matrix, regression_weights
from recommenders.training.options import expect


@dataclass(frozen=True)
class EaseContent(Ease):
    """EASE whose regression has a row for each dimension of the features beside one for each user.

    With X the users' items (0 or 1), Z the standardised features and K = content Z Z' / D the content kernel, it is
    EASE on the Gram matrix X'X + K: items alike in content are taken for items that are taken together. A cold item is
    regressed on the warm ones by its content alone: B_.j = (X'X + K + l2 I)^-1 K_.j; its scores are lower than those of
    items with events, whose order among themselves they leave as it is. The only fusion is `add`, the sum of the two
    matrices, with one layer where features have layers (`add/last`, `add/12`). Without content it is `ease`.

    The other options are those of `ease`.

    Attributes
    ----------
    content
        Weight of the kernel: so many users take an item and another one like it in all dimensions.
    standardise
        See `ItemFeatures.standardised`.
    """

    name: ClassVar[str] = "ease-content"
    uses_features: ClassVar[bool] = True
    only_fusion: ClassVar[str] = "add"
    space: ClassVar[Mapping[str, Range]] = {**Ease.space, "content": Range(0.01, 1000.0, log=True)}
    paper: ClassVar[str] = (
        "Jeunen et al., Closed-Form Models for Collaborative Filtering with Side-Information, RecSys 2020"
    )

    content: float = 1.0
    standardise: Standardisation = "whiten"  # type: ignore[misc]  # an option here

    def fit(self, request: FitRequest) -> FitResult:
        """Solve the regression.

        Raises
        ------
        UserError
            As `Ease.fit`; if the fusion is another one than `add`, or there are no features.
        """
        from scipy.linalg import solve

        self.check_options(request.data)
        expect(self, ("content",), lambda value: value > 0, "a number above 0")
        vectors = item_vectors(self, request).astype(np.float64)
        vectors *= (self.content / vectors.shape[1]) ** 0.5
        warm, cold = np.split(vectors, [request.data.n_warm])
        gram = gram_matrix(request.data) + warm @ warm.T
        to_cold = solve(gram + self.l2 * np.eye(len(gram)), warm, assume_a="pos") @ cold.T
        weights = regression_weights(gram, self.l2)
        weights = np.hstack([weights, to_cold.astype(np.float32)])
        return FitResult(HistoryScorer([weights], len(vectors), self.decay, binary=True), parameters=weights.size)
