"""Per-user metrics of one fold, their means, and statistics of the recommendation lists."""

from __future__ import annotations

import numpy as np
import pandas as pd

from protocols.evaluation.metrics import CUTOFFS, FORMULAS, gini, mean_over_lists
from protocols.evaluation.ranking import Ranking
from protocols.ranking_problem import Problem


def user_metrics(ranking: Ranking) -> pd.DataFrame:
    """Compute all metrics of every user.

    Returns
    -------
    pd.DataFrame
        One row a user, sorted by id: user_id, n_targets, n_warm, n_cold, n_history (events before the border),
        n_lists (rankings: 1, or one a target), then hr, ndcg, recall and mrr at 10 and 20: over all targets
        (`ndcg@10`), over warm targets among warm candidates (`ndcg@10_warm`), and over cold targets among all
        candidates (`ndcg@10_cold`) and among cold ones (`ndcg@10_cold_among_cold`); NaN where the user has no such
        target. Of several lists, the mean.

    Notes
    -----
    `_cold` falls to 0 for a model that orders new items well and scores all of them below old ones;
    `_cold_among_cold` tells if it orders them. Cold candidates are few, so that it is far above 0 for a random
    scorer, too: with m cold targets among c unseen cold candidates HR@K is 1 - C(c - m, K) / C(c, K) in expectation
    and nDCG@K is m / c * sum over r <= min(K, c) of 1 / log2(1 + r), divided by the same sum over r <= min(m, K).
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
        "_cold_among_cold": (ranking.rank_cold[~warm], target_list[~warm]),
    }
    for suffix, (rank, of_list) in parts.items():
        for k in CUTOFFS:
            for name, formula in FORMULAS.items():
                values = formula(rank, of_list, len(row), k)
                columns[f"{name}@{k}{suffix}"] = mean_over_lists(values, row, n)
    return pd.DataFrame(columns)


def means(users: pd.DataFrame) -> dict[str, float]:
    """Average the metric columns over the users that have them, and count those users.

    Returns
    -------
    dict
        Every metric's mean (NaN where no user has it), `n_users`, `n_users_warm`, `n_users_cold`, `n_targets`,
        `n_targets_cold`, and mean and median of targets per user, which HR depends on.
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
    """Describe the recommended items over all lists of a fold.

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


def with_topk(users: pd.DataFrame, ranking: Ranking) -> pd.DataFrame:
    """Add the column `top`: raw ids of each user's list, best first; of several lists the first."""
    top, first = ranking.top_ids(), np.unique(ranking.users, return_index=True)[1]
    return users.assign(top=pd.Series([top[i] for i in first], index=users.index, dtype=object))
