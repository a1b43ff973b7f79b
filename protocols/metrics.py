"""Metrics from exact ranks: one row a user, so that every interval and test can be computed later.

Binary relevance, a set of targets per user, lists cut at K. HR and nDCG equal RecBole's `Hit().metric_info` and
`NDCG().metric_info` (column K-1 of their running values), on ranks instead of dense hit matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from protocols.problem import Problem
from protocols.ranking import Ranking

CUTOFFS = (10, 20)
PRIMARY = "ndcg@10"


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


def ndcg(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Compute nDCG@k: gain 1, discount log2(1 + rank), ideal = all min(targets, k) on top.

    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with binary gains.

    Returns
    -------
    np.ndarray
        float64 [V]; NaN for users without targets.
    """
    found = rank <= k
    dcg = np.bincount(user[found], weights=1.0 / np.log2(1.0 + rank[found]), minlength=n_users)
    ideal = np.concatenate([[np.nan], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    return dcg / ideal[np.minimum(np.bincount(user, minlength=n_users), k)]


def reciprocal_rank(rank: np.ndarray, user: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """One over the rank of the best target, 0 if none is in the top k; float64 [V]."""
    out = np.zeros(n_users)
    found = rank <= k
    np.maximum.at(out, user[found], 1.0 / rank[found])
    return out


def _scores(rank: np.ndarray, user: np.ndarray, n_users: int, suffix: str) -> dict[str, np.ndarray]:
    n_targets = np.bincount(user, minlength=n_users)
    none = n_targets == 0
    columns = {}
    for k in CUTOFFS:
        found = hits(rank, user, n_users, k)
        values = {
            "hr": (found > 0).astype(np.float64),
            "ndcg": ndcg(rank, user, n_users, k),
            "recall": found / np.maximum(n_targets, 1),
            "mrr": reciprocal_rank(rank, user, n_users, k),
        }
        for name, value in values.items():
            columns[f"{name}@{k}{suffix}"] = np.where(none, np.nan, value)
    return columns


def user_metrics(ranking: Ranking) -> pd.DataFrame:
    """Compute all metrics of every user.

    Returns
    -------
    pd.DataFrame
        One row a user: user_id, n_targets, n_warm, n_cold, n_history, then hr, ndcg, recall and mrr at 10 and 20:
        over all targets (`ndcg@10`), over warm targets among warm candidates (`ndcg@10_warm`) and over cold targets
        among all candidates (`ndcg@10_cold`); NaN where the user has no such target.
    """
    n, user, warm = len(ranking.users), ranking.target_user, ranking.target_warm
    columns: dict[str, np.ndarray] = {
        "user_id": ranking.users,
        "n_targets": np.bincount(user, minlength=n),
        "n_warm": np.bincount(user[warm], minlength=n),
        "n_cold": np.bincount(user[~warm], minlength=n),
        "n_history": ranking.n_history,
    }
    columns |= _scores(ranking.rank, user, n, "")
    columns |= _scores(ranking.rank_warm[warm], user[warm], n, "_warm")
    columns |= _scores(ranking.rank[~warm], user[~warm], n, "_cold")
    return pd.DataFrame(columns)


def means(users: pd.DataFrame) -> dict[str, float]:
    """Average the metric columns over the users that have them, and count those users.

    Returns
    -------
    dict
        Every metric's mean (NaN where no user has it), `n_users`, `n_users_warm`, `n_users_cold`, `n_targets`,
        `n_targets_cold`, and mean and median of targets per user, without which HR cannot be read.
    """
    out = {str(c): float(users[c].mean()) for c in users.columns if "@" in str(c)}
    return out | {
        "n_users": len(users),
        "n_users_warm": int((users["n_warm"] > 0).sum()),
        "n_users_cold": int((users["n_cold"] > 0).sum()),
        "n_targets": int(users["n_targets"].sum()),
        "n_targets_cold": int(users["n_cold"].sum()),
        "targets_per_user_mean": float(users["n_targets"].mean()),
        "targets_per_user_median": float(users["n_targets"].median()),
    }


def board_metrics(ranking: Ranking, problem: Problem, k: int = 10) -> dict[str, float]:
    """Describe what is recommended, over all lists of a fold.

    Returns
    -------
    dict
        coverage@k
            Share of the candidates that is in at least one top k.
        gini@k
            Gini coefficient of how often each candidate is recommended: 0 all alike, near 1 a few take all.
        popularity@k
            Mean number of fitted events of the recommended items.
        novelty@k
            Mean self-information -log2 p of the recommended items in bits, p = (events + 1) / (fitted events +
            items) (Vargas and Castells, RecSys 2011; the one added keeps cold items finite).
        tie_share
            Share of users whose top ten is decided by the tie-break.
    """
    top = ranking.top[:, :k]
    shown = top[top >= 0]
    times = np.bincount(shown, minlength=len(ranking.items))[ranking.candidates]
    counts = problem.training.counts
    information = -np.log2((counts + 1) / (counts.sum() + len(counts)))
    nothing = len(shown) == 0
    return {
        f"coverage@{k}": float((times > 0).mean()) if len(times) else float("nan"),
        f"gini@{k}": gini(times),
        f"popularity@{k}": float("nan") if nothing else float(counts[shown].mean()),
        f"novelty@{k}": float("nan") if nothing else float(information[shown].mean()),
        "tie_share": ranking.tie_share,
    }


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


def with_topk(users: pd.DataFrame, ranking: Ranking) -> pd.DataFrame:
    """Add the column `top`: raw ids of each user's list, best first."""
    return users.assign(top=pd.Series(ranking.top_ids(), index=users.index, dtype=object))
