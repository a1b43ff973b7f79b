"""Formulas of the metrics in words, and worked out for one user."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocols.wording import counted

FORMULAS = {
    "HR@K": "1 if any target is in the user's first K, else 0",
    "nDCG@K": "sum over targets at rank r <= K of 1 / log2(1 + r), divided by what the best order of min(targets, K) "
    "targets would give (binary gain; Jarvelin and Kekalainen, TOIS 2002)",
    "recall@K": "targets in the first K, divided by all targets of the user",
    "MRR@K": "1 / rank of the first target, 0 if it is beyond K",
    "_warm": "the same, targets and candidates with an event in the fitted rows only",
    "_cold": "the same, targets without one only, ranked among all candidates",
    "_cold_among_cold": "the same targets, ranked among candidates without such an event; of m targets among c of them "
    "a random order has HR@K = 1 - C(c - m, K) / C(c, K), and nDCG@K = m / c times the sum of the first K discounts, "
    "divided by that of the first min(m, K)",
    "coverage@K": "share of the candidates that is in anybody's first K",
    "gini@K": "Gini coefficient of how often each candidate is in a first K: 0 all alike, near 1 a few take all",
    "popularity@K": "mean number of fitted events of the items in the first K",
    "novelty@K": "mean of -log2((events + 1) / (all fitted events + items)) over them, in bits",
    "tie_share": "share of users whose first ten is decided by the tie-break, a seeded hash of the item id",
    "a board's number": "mean over users in a fold, then over folds, then over seeds; ranks among all candidates but "
    "those the user has had, none sampled",
}


def worked(ranks: Sequence[float], k: int = 10) -> list[str]:
    """Work HR, nDCG, recall and MRR out for the targets of one user.

    Parameters
    ----------
    ranks
        1-based; 0 or infinite for a target that cannot be found.

    Examples
    --------
    >>> worked([2, 0], k=10)[1]
    'nDCG@10 = (1/log2(1+2)) / (1/log2(2) + 1/log2(3)) = 0.6309 / 1.6309 = 0.3869'
    """
    found = sorted(rank for rank in ranks if 0 < rank <= k)
    ideal = range(1, min(len(ranks), k) + 1)
    gain, best = (sum(1 / math.log2(1 + rank) for rank in order) for order in (found, ideal))
    terms = " + ".join(f"1/log2(1+{rank:.0f})" for rank in found) or "0"
    most = " + ".join(f"1/log2({rank + 1})" for rank in ideal) or "0"
    ndcg = f"{gain:.4f} / {best:.4f} = {gain / best:.4f}" if best else "undefined: no targets"
    first = f"1/{found[0]:.0f} = {1 / found[0]:.4f}" if found else "0"
    return [
        f"HR@{k} = {int(bool(found))}: {len(found)} of {counted(len(ranks), 'target')} in the first {k}",
        f"nDCG@{k} = ({terms}) / ({most}) = {ndcg}",
        f"recall@{k} = {len(found)}/{len(ranks)} = {len(found) / max(len(ranks), 1):.4f}",
        f"MRR@{k} = {first}",
    ]
