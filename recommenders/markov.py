"""Markov chain of order one, and the sequence rules that it is a case of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from protocols.ranking_problem import TrainingData
from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.data.recency import recency_weights
from recommenders.training.options import expect


@dataclass(frozen=True)
class Markov(Recommender):
    """Items by how often they followed the last item of the history.

    P(j | i) = (n_ij + smoothing p_j) / (n_i + smoothing), with n_ij the number of times that a user took j after i, n_i
    its sum over j, and p_j the share of j among all events (Dirichlet smoothing). The score of j is the sum over the
    history of decay^age P(j | i), age counted from the newest item. Nothing is learned by steps; ids only: cold items
    score -inf, and a history without warm items is shown what is popular.

    Attributes
    ----------
    steps
        Distance up to which one item follows another: 1 is the Markov chain of order one, more are sequence rules, in
        which an item at distance k counts 1/k.
    smoothing
        Events of the whole catalogue that are mixed into those of an item.
    decay
        Weight of an item of the history relative to the next newer one; 0: the last item alone.
    """

    name: ClassVar[str] = "markov"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "steps": Range(1, 20, log=True),
        "smoothing": Range(0.01, 100.0, log=True),
        "decay": Range(0.0, 1.0),
    }
    paper: ClassVar[str] = "Ludewig and Jannach, Evaluation of Session-based Recommendation Algorithms, UMUAI 2018"

    steps: int = 1
    smoothing: float = 1.0
    decay: float = 0.0

    def fit(self, request: FitRequest) -> FitResult:
        """Count what follows what.

        Raises
        ------
        UserError
            If an option makes no sense.
        """
        expect(self, ("steps", "smoothing"), lambda value: value > 0, "a number above 0")
        expect(self, ("decay",), lambda value: 0 <= value <= 1, "a number from 0 to 1")
        data = request.data
        counts = transitions(data, self.steps)
        share = 1 / (counts.sum(axis=1) + self.smoothing)
        counts.data *= np.repeat(share, np.diff(counts.indptr))
        popularity = data.counts[: data.n_warm] / max(1, len(data.item))
        scorer = MarkovScorer(counts, self.smoothing * share, popularity, len(data.items), self.decay)
        return FitResult(scorer, parameters=counts.nnz)


def transitions(data: TrainingData, steps: int) -> Any:
    """Count the pairs of items that users took at a distance of 1 .. `steps`, each by 1 / distance.

    Returns
    -------
    csr_array
        float64 [n_warm, n_warm]: from the earlier item to the later one.
    """
    from scipy.sparse import csr_array

    order = np.argsort(data.user, kind="stable")
    user, item = data.user[order], data.item[order]
    counts = csr_array((data.n_warm, data.n_warm), dtype=np.float64)
    for step in range(1, steps + 1):
        same = user[step:] == user[:-step]
        if not same.any():
            break
        pairs = item[:-step][same], item[step:][same]
        counts = counts + csr_array((np.full(len(pairs[0]), 1 / step), pairs), shape=counts.shape)
    return counts


class MarkovScorer:
    """Scores from smoothed transitions: counts [N, N] and popularity [N] mixed by a share [N] for each item."""

    def __init__(self, counts: Any, share: np.ndarray, popularity: np.ndarray, n_items: int, decay: float) -> None:
        self.counts, self.share, self.popularity = counts, share, popularity
        self.n_items, self.decay = n_items, decay

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        n_warm = len(self.popularity)
        rows = recency_weights(histories, np.ones(n_warm, dtype=bool), self.decay)
        mixed = np.where(rows.sum(axis=1) > 0, rows @ self.share, 1.0)
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        scores[:, :n_warm] = (rows @ self.counts).toarray() + mixed[:, None] * self.popularity
        return scores
