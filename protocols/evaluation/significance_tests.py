"""Two-sided significance tests of per-user differences, and corrections for multiple comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Elements of a block of sign flips: bounds memory at about 64 MB whatever the number of users.
_BLOCK = 8_000_000
# Share of the largest difference below which one is taken for the rounding of equal values.
_ROUNDING = 1e-12


def t_test(d: np.ndarray) -> float:
    """Two-sided one-sample t-test of mean 0; 1 where all differences are zero, NaN under two users."""
    if len(d) < 2:
        return float("nan")
    if not np.any(d):
        return 1.0
    from scipy import special  # scipy.stats takes two seconds to import

    spread = d.std(ddof=1)
    if spread == 0:
        return 0.0
    t = d.mean() / (spread / np.sqrt(len(d)))
    return float(2.0 * special.stdtr(len(d) - 1, -abs(t)))


def sign_flip_test(d: np.ndarray, *, permutations: int = 10_000, seed: int = 0) -> float:
    """Two-sided permutation test: under the null a user's difference is as likely negative as positive.

    Returns
    -------
    float
        (1 + flips at least as extreme) / (1 + permutations), never 0.
    """
    # a zero stays zero whatever its sign, and so does what is only rounding
    d = d[np.abs(d) > _ROUNDING * np.abs(d).max(initial=0.0)]
    if not len(d):
        return 1.0
    observed = abs(d.sum())
    rng = np.random.default_rng([seed, 0xF11B])
    step = max(1, _BLOCK // len(d))
    extreme = 0
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        up = np.unpackbits(rng.integers(0, 256, (rows, -(-len(d) // 8)), dtype=np.uint8), axis=1)[:, : len(d)]
        sums = 2.0 * (up @ d) - d.sum()
        # sums that differ by rounding alone are as extreme as the observed one
        extreme += int(np.count_nonzero(np.abs(sums) >= observed * (1 - 1e-12)))
    return (1 + extreme) / (1 + permutations)


def holm(pvalues: Sequence[float]) -> np.ndarray:
    """Adjust p-values so that the chance of any false positive in the family is kept (Holm 1979).

    Examples
    --------
    >>> [round(float(p), 10) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    out = np.empty_like(p)
    out[order] = adjusted
    return out


def benjamini_hochberg(pvalues: Sequence[float]) -> np.ndarray:
    """Adjust p-values so that the expected share of false positives among the rejections is kept (1995)."""
    from scipy import stats  # two seconds, needed by all pairs of a grid only

    return stats.false_discovery_control(np.asarray(pvalues, dtype=np.float64))
