"""Metrics of users from the exact ranks of their targets.

Binary relevance, a set of targets per user, lists cut at K. HR, nDCG, recall and MRR are RecBole's `metric_info` of
`Hit`, `NDCG`, `Recall` and `MRR` (column K-1 of their running values) bit for bit, which a test asserts; they are
written on ranks instead of dense hit matrices because importing `recbole.evaluator` takes 5 to 10 seconds, more than
a whole run of `pop`, and early stopping asks for nDCG after every epoch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from protocols.errors import UserError

CUTOFFS = (10, 20)
PRIMARY = "ndcg@10"
# Bumped when a definition of a metric or of ranks changes: numbers of two versions never share a table.
VERSION = 1


def fingerprint(version: int = VERSION) -> str:
    """Name the definitions of metrics by the `metrics_version` of a record; rows rank together only if it matches."""
    return f"metrics-v{version}"


def hits(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Count each user's targets in the top k.

    Parameters
    ----------
    rank
        float64 [T]: 1-based ranks, inf for what cannot be found.
    user
        int64 [T]: row of the user.
    n_users, k
        Number of users; cut-off.

    Returns
    -------
    np.ndarray
        int64 [V].
    """
    return np.bincount(user[rank <= k], minlength=n_users)


def hit_rate(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """1 where any target is in the top k, else 0; float64 [V], NaN for users without targets."""
    return _of_users_with_targets((hits(rank, user, n_users, k) > 0).astype(np.float64), user)


def recall(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Share of a user's targets that is in the top k; float64 [V], NaN for users without targets."""
    n_targets = np.bincount(user, minlength=n_users)
    return _of_users_with_targets(hits(rank, user, n_users, k) / np.maximum(n_targets, 1), user)


def ndcg(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Compute nDCG@k: gain 1, discount log2(1 + rank), ideal = all min(targets, k) on top.

    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with binary gains.

    Returns
    -------
    np.ndarray
        float64 [V]; NaN for users without targets.
    """
    found = np.flatnonzero(rank <= k)
    found = found[np.argsort(rank[found], kind="stable")]  # summed from the top, so that every bit is RecBole's
    dcg = np.bincount(user[found], weights=1.0 / np.log2(1.0 + rank[found]), minlength=n_users)
    ideal = np.concatenate([[np.nan], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    return dcg / ideal[np.minimum(np.bincount(user, minlength=n_users), k)]


def reciprocal_rank(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """One over the rank of the best target, 0 if none is in the top k; float64 [V], NaN for users without targets."""
    out = np.zeros(n_users)
    found = rank <= k
    np.maximum.at(out, user[found], 1.0 / rank[found])
    return _of_users_with_targets(out, user)


def _of_users_with_targets(values: np.ndarray, user: np.ndarray) -> np.ndarray:
    return np.where(np.bincount(user, minlength=len(values)) > 0, values, np.nan)


# Every metric of a user: a function of (rank, user, n_users, k).
FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]] = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "recall": recall,
    "mrr": reciprocal_rank,
}


def parse(metric: str) -> tuple[Callable[[np.ndarray, np.ndarray, int, int], np.ndarray], int, str]:
    """Read `ndcg@10`, `hr@50_warm`: the formula, the cut-off, and the targets that count.

    These are `""` (all), `warm` (among warm candidates), `cold` (among all) or `cold_among_cold`.

    Raises
    ------
    UserError
        If the name is unknown.

    Examples
    --------
    >>> formula, k, targets = parse("hr@5_cold")
    >>> formula.__name__, k, targets
    ('hit_rate', 5, 'cold')
    """
    match = re.fullmatch(r"([a-z]+)@([1-9][0-9]{0,5})(?:_(warm|cold|cold_among_cold))?", metric)
    if not match or match[1] not in FORMULAS:
        raise UserError(
            f"unknown metric {metric!r}", remedy=f"one of {', '.join(FORMULAS)} at any K: ndcg@10, hr@5_warm"
        )
    return FORMULAS[match[1]], int(match[2]), match[3] or ""


def mean_over_lists(values: np.ndarray, row: np.ndarray, n_users: int) -> np.ndarray:
    """Average the lists of each user that have a value.

    A user has one list, except where a protocol ranks again after every target (`targets=successive`).

    Parameters
    ----------
    values
        float64 [L]: of each list, NaN for none.
    row
        int64 [L]: the user of each list.

    Returns
    -------
    np.ndarray
        float64 [V]; NaN for users without a value.
    """
    has = ~np.isnan(values)
    count = np.bincount(row[has], minlength=n_users)
    total = np.bincount(row[has], weights=values[has], minlength=n_users)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def gini(counts: Sequence[int] | np.ndarray) -> float:
    """Gini coefficient of non-negative counts; NaN if they are all zero.

    Examples
    --------
    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 1])
    (0.0, 0.75)
    """
    values = np.sort(np.asarray(counts, dtype=np.float64))
    total, n = values.sum(), len(values)
    if total == 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ values / (n * total))
