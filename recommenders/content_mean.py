"""Content-based recommendation by the mean feature vector of the history, without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from protocols.features import Standardisation, unit_rows
from recommenders.base import FitRequest, FitResult, Recommender, item_vectors
from recommenders.data.recency import recency_weights
from recommenders.training.options import expect


@dataclass(frozen=True)
class ContentMean(Recommender):
    """Items by similarity of their features to the mean of the history's: nothing is trained.

    The user's vector is u = sum w z / sum w over the items of the history, with z the standardised features (see
    `ItemFeatures`) and w = decay^age, age counted from the newest item. The score of item j is cos(u, z_j), or u . z_j.
    Cold items are scored like warm ones. Items without a feature are left out of u and score -inf. It knows no ids:
    the only fusion is `replace`, with one layer where features have layers (`replace/last`, `replace/12`).

    Attributes
    ----------
    user
        `decay`: as above; `mean`: the same without decay; `last`: the newest item that has a feature alone.
    decay
        Weight of an item of the history relative to the next newer one, for `decay`.
    similarity
        `cosine` or `dot`.
    standardise
        See `ItemFeatures.standardised`.
    """

    name: ClassVar[str] = "content-mean"
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    only_fusion: ClassVar[str] = "replace"
    paper: ClassVar[str] = (
        "Lops et al., Content-based Recommender Systems: State of the Art and Trends, Recommender Systems Handbook 2011"
    )

    user: Literal["mean", "decay", "last"] = "decay"
    decay: float = 0.9
    similarity: Literal["cosine", "dot"] = "cosine"
    standardise: Standardisation = "whiten"  # type: ignore[misc]  # an option here

    def fit(self, request: FitRequest) -> FitResult:
        """Standardise the features.

        Raises
        ------
        UserError
            If the fusion is another one than `replace`, there are no features, or an option makes no sense.
        """
        expect(self, ("decay",), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        vectors = item_vectors(self, request)
        assert request.features is not None
        decay = self.decay if self.user == "decay" else 1.0
        return FitResult(ContentScorer(vectors, request.features.present, decay, self.user == "last", self.similarity))


class ContentScorer:
    """Scores from item vectors [M, K], of which only those `present` (bool [M]) say anything of their item."""

    def __init__(self, vectors: np.ndarray, present: np.ndarray, decay: float, last: bool, similarity: str) -> None:
        self.vectors, self.present, self.decay, self.last = vectors, present, decay, last
        self.cosine = similarity == "cosine"
        self.items = unit_rows(vectors) if self.cosine else vectors

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        if self.last:
            histories = [h[self.present[h]][-1:] for h in (np.asarray(h, dtype=np.int64) for h in histories)]
        weights = recency_weights(histories, self.present, self.decay)
        total = weights.sum(axis=1)[:, None]
        means = weights @ self.vectors / np.where(total > 0, total, np.float32(1.0))
        scores = (unit_rows(means) if self.cosine else means) @ self.items.T
        scores[:, ~self.present] = -np.inf
        return scores
