"""iALS: matrix factorisation of who took what, by alternating least squares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from recommenders.base import FitRequest, FitResult, Range, Recommender
from recommenders.data.history_scorer import newest_of_each, taken
from recommenders.data.recency import recency_weights
from recommenders.training.options import expect

#: Items, or factors, of the least-squares problems that are solved at once.
CELLS = 16_384


@dataclass(frozen=True)
class IALS(Recommender):
    """Factors of users and items fitted to 1 for what was taken, and to 0, with less weight, for everything else.

    Minimises sum_taken (1 - w.h)^2 + unobserved sum_others (w.h)^2 + sum_u l2_u |w_u|^2 + sum_i l2_i |h_i|^2 with
    l2_u = l2 (n_u + unobserved N)^scaling, n_u the items of user u among N, and l2_i likewise: the penalty grows with
    the number of terms of a row, without which iALS falls behind. A user is scored by the w that fits his history,
    users without fitted rows alike. Ids only: cold items score -inf.

    Attributes
    ----------
    factors
        Width of w and h.
    l2, scaling
        Ridge penalty, and the exponent of its growth; with a scaling of 0 all rows have the same.
    unobserved
        Weight of what was not taken, relative to what was.
    iterations
        Times that all users and then all items are solved.
    decay
        Weight of an item of the history relative to the next newer one when scoring; 1 (the paper's): all the same.
    """

    name: ClassVar[str] = "ials"
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False
    space: ClassVar[Mapping[str, Range]] = {
        "factors": Range(8, 128, log=True),
        "l2": Range(1e-3, 1.0, log=True),
        "unobserved": Range(0.005, 0.5, log=True),
        "decay": Range(0.5, 1.0),
    }
    paper: ClassVar[str] = (
        "Hu et al., Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008; "
        "Rendle et al., Revisiting the Performance of iALS on Item Recommendation Benchmarks, RecSys 2022"
    )

    factors: int = 64
    l2: float = 0.05
    scaling: float = 1.0
    unobserved: float = 0.05
    iterations: int = 15
    decay: float = 1.0

    def fit(self, request: FitRequest) -> FitResult:
        """Alternate between users and items.

        Raises
        ------
        UserError
            If an option makes no sense.
        """
        expect(self, ("factors", "l2", "iterations"), lambda value: value > 0, "a number above 0")
        expect(self, ("scaling",), lambda value: 0 <= value <= 1, "a number from 0 to 1")
        expect(self, ("unobserved", "decay"), lambda value: 0 < value <= 1, "a number above 0, at most 1")
        data = request.data
        users = taken(data, np.float64)
        items = users.T.tocsr()
        rng = np.random.default_rng([request.seed, 0x1A15])
        right = rng.normal(0.0, 0.1 / self.factors**0.5, (data.n_warm, self.factors))
        for _ in range(self.iterations):
            left = self.solve(users, right)
            right = self.solve(items, left)
        return FitResult(FoldInScorer(self, right, len(data.items)), parameters=left.size + right.size)

    def solve(self, rows: Any, other: np.ndarray) -> np.ndarray:
        """Fit the factors of rows, given those of the columns.

        Parameters
        ----------
        rows
            csr_array [B, N]: weights of what was taken.
        other
            float64 [N, factors].

        Returns
        -------
        np.ndarray
            float64 [B, factors].
        """
        count = np.diff(rows.indptr)
        penalty = self.l2 * (count + self.unobserved * len(other)) ** self.scaling
        # where the common part of all matrices is diagonal, a row costs the cube of its items, not that of the factors
        common, basis = np.linalg.eigh(other.T @ other)
        turned, found = other @ basis, np.empty((rows.shape[0], other.shape[1]))
        order, width = np.argsort(count, kind="stable"), other.shape[1]
        for first, last in _runs(count[order]):
            step = max(1, CELLS // max(int(count[order[first]]), width))
            for at in range(first, last, step):
                members = order[at : min(at + step, last)]
                cells = rows.indptr[members, None] + np.arange(count[members[0]])
                diagonal = self.unobserved * common + penalty[members, None]
                found[members] = self._solve_equal(turned[rows.indices[cells]], rows.data[cells], diagonal) @ basis.T
        return found

    def _solve_equal(self, mine: np.ndarray, weight: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
        """Fit rows of n items each.

        Parameters
        ----------
        mine
            [B, n, d]: factors of their items.
        weight
            [B, n]: weights of these.
        diagonal
            [B, d]: what all items and the penalty add to the diagonal of a row's matrix.
        """
        count, width = mine.shape[1:]
        more = (weight - self.unobserved)[:, :, None]
        if count >= width:
            left = mine.transpose(0, 2, 1) @ (mine * more)
            left[:, np.arange(width), np.arange(width)] += diagonal
            return np.linalg.solve(left, mine.transpose(0, 2, 1) @ weight[:, :, None])[:, :, 0]
        # (G + V'DV)^-1 V' = G^-1 V' (I + D V G^-1 V')^-1
        scaled = mine / diagonal[:, None]
        small = np.eye(count) + more * (scaled @ mine.transpose(0, 2, 1))
        return (scaled.transpose(0, 2, 1) @ np.linalg.solve(small, weight[:, :, None]))[:, :, 0]


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield where runs of equal values begin and end."""
    edges = np.flatnonzero(np.diff(values)) + 1
    yield from pairwise([0, *edges.tolist(), len(values)] if len(values) else [])


class FoldInScorer:
    """Scores from item factors [n_warm, d] and the user factors that fit a history; cold items score -inf."""

    def __init__(self, model: IALS, items: np.ndarray, n_items: int) -> None:
        self.model, self.items, self.n_items = model, items, n_items

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        known = np.ones(len(self.items), dtype=bool)
        rows = recency_weights([newest_of_each(h) for h in histories], known, self.model.decay)
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        scores[:, : len(self.items)] = self.model.solve(rows.astype(np.float64), self.items) @ self.items.T
        return scores
