"""EASE: the item-to-item regression that is solved in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from protocols.errors import UserError
from protocols.ranking_problem import TrainingData
from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.data.history_scorer import HistoryScorer, taken
from recommenders.training.options import expect


@dataclass(frozen=True)
class Ease(Recommender):
    """Linear regression of every item on all the others, with a ridge penalty and no weight of an item on itself.

    With X the users' items (0 or 1) of the fitted rows, G = X'X + l2 I and P its inverse, the weight of item i on j is
    B_ij = -P_ij / P_jj, B_jj = 0. A user's scores are the sum of the rows of B of the items of the history, users
    without fitted rows alike. Nothing is learned by steps; ids only: cold items score -inf.

    Attributes
    ----------
    l2
        Ridge penalty: a higher one trusts an item's popularity more than what it is taken with.
    decay
        Weight of an item of the history relative to the next newer one when scoring; 1 (the paper's): all the same.
    max_items
        Refuse more warm items than this: memory grows with their square, at most 16 bytes a pair, and time with their
        cube.
    """

    name: ClassVar[str] = "ease"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {"l2": Range(1.0, 10_000.0, log=True), "decay": Range(0.5, 1.0)}
    paper: ClassVar[str] = "Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019"

    l2: float = 500.0
    decay: float = 1.0
    max_items: int = 25_000

    def fit(self, request: FitRequest) -> FitResult:
        """Solve the regression.

        Raises
        ------
        UserError
            If an option makes no sense, or there are more warm items than `max_items`.
        """
        data = request.data
        self.check_options(data)
        weights = regression_weights(gram_matrix(data), self.l2)
        scorer = HistoryScorer([weights], len(data.items), self.decay, binary=True)
        return FitResult(scorer, parameters=data.n_warm * (data.n_warm - 1))

    def check_options(self, data: TrainingData) -> None:
        """Refuse options that make no sense, and more warm items than `max_items`."""
        expect(self, ("l2", "max_items"), lambda value: value > 0, "a number above 0")
        expect(self, ("decay",), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        if error := self.too_large(data.n_warm):
            raise error

    def too_large(self, items: int) -> UserError | None:
        """Make the error of a Gram matrix that would not fit into memory."""
        if items <= self.max_items:
            return None
        return UserError(
            f"{self.name}: too many items: the Gram matrix of {items:,} items takes {8 * items**2:,} bytes, and its "
            f"inverse as many again; max_items is {self.max_items:,}",
            remedy=f"use puresvd, fit on a core (--set protocol.k_core=5), or raise --set {self.name}.max_items=N",
        )


def gram_matrix(data: TrainingData) -> np.ndarray:
    """Count the users that items have in common: float64 [n_warm, n_warm]."""
    users = taken(data, np.float64)
    return (users.T @ users).toarray()


def regression_weights(gram: Any, l2: float) -> np.ndarray:
    """Solve EASE for a Gram matrix [N, N] of float64, which is overwritten; return float32 [N, N]."""
    from scipy.linalg import lapack

    gram[np.diag_indices(len(gram))] += l2
    # in place and by half the arithmetic of a general inverse: the matrix is positive definite
    factor, _ = lapack.dpotrf(gram.T, lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
    own = np.diag(inverse).astype(np.float32)
    weights = inverse.T.astype(np.float32)  # in order of rows, as products need it; its lower half is empty
    weights += weights.T
    weights /= -own
    np.fill_diagonal(weights, 0.0)
    return weights
