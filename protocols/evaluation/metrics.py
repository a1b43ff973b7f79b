"""Metrics from exact ranks: one row a user, so that every interval and test can be computed later.

Binary relevance, a set of targets per user, lists cut at K. HR, nDCG, recall and MRR are RecBole's `metric_info` of
`Hit`, `NDCG`, `Recall` and `MRR` (column K-1 of their running values) bit for bit, which a test asserts; they are
written on ranks instead of dense hit matrices because importing `recbole.evaluator` takes 5 to 10 seconds, more than
a whole run of `pop`, and early stopping asks for nDCG after every epoch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from protocols.errors import UserError
from protocols.evaluation.ranking import Ranking
from protocols.problem import Problem

CUTOFFS = (10, 20)
PRIMARY = "ndcg@10"
# Counts up whenever a definition in here, or what ranks are, changes: numbers of two versions never share a table.
VERSION = 1


def fingerprint(version: int = VERSION) -> str:
    """What the metrics of a record mean, by its `metrics_version`; rows rank together only where it matches."""
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
    """Read `ndcg@10`, `hr@50_warm`: the formula, the cut-off, and which targets count (`""`, `warm` or `cold`).

    Raises
    ------
    UserError
        If it is no such name.

    Examples
    --------
    >>> formula, k, targets = parse("hr@5_cold")
    >>> formula.__name__, k, targets
    ('hit_rate', 5, 'cold')
    """
    match = re.fullmatch(r"([a-z]+)@([1-9][0-9]{0,5})(?:_(warm|cold))?", metric)
    if not match or match[1] not in FORMULAS:
        raise UserError(
            f"unknown metric {metric!r}", remedy=f"one of {', '.join(FORMULAS)} at any K: ndcg@10, hr@5_warm"
        )
    return FORMULAS[match[1]], int(match[2]), match[3] or ""


def user_metrics(ranking: Ranking) -> pd.DataFrame:
    """Compute all metrics of every user.

    Returns
    -------
    pd.DataFrame
        One row a user, sorted by id: user_id, n_targets, n_warm, n_cold, n_history (events before the border),
        n_lists (rankings: 1, or one a target), then hr, ndcg, recall and mrr at 10 and 20: over all targets
        (`ndcg@10`), over warm targets among warm candidates (`ndcg@10_warm`) and over cold targets among all
        candidates (`ndcg@10_cold`); NaN where the user has no such target. Of several lists, the mean.
    """
    users, first, row, lists = np.unique(ranking.users, return_index=True, return_inverse=True, return_counts=True)
    n, target_list, warm = len(users), ranking.target_user, ranking.target_warm
    user = row[target_list]
    columns: dict[str, np.ndarray] = {
        "user_id": users,
        "n_targets": np.bincount(user, minlength=n),
        "n_warm": np.bincount(user[warm], minlength=n),
        "n_cold": np.bincount(user[~warm], minlength=n),
        "n_history": ranking.n_history[first],
        "n_lists": lists,
    }
    parts = {
        "": (ranking.rank, target_list),
        "_warm": (ranking.rank_warm[warm], target_list[warm]),
        "_cold": (ranking.rank[~warm], target_list[~warm]),
    }
    for suffix, (rank, of_list) in parts.items():
        for k in CUTOFFS:
            for name, formula in FORMULAS.items():
                values = formula(rank, of_list, len(row), k)
                columns[f"{name}@{k}{suffix}"] = mean_over_lists(values, row, n)
    return pd.DataFrame(columns)


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
    """Add the column `top`: raw ids of each user's list, best first; of several lists the first."""
    top, first = ranking.top_ids(), np.unique(ranking.users, return_index=True)[1]
    return users.assign(top=pd.Series([top[i] for i in first], index=users.index, dtype=object))
