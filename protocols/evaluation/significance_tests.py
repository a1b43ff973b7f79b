"""Mean over users and seeds with its t-test, and corrections for multiple comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Share of the largest value below which a mean is taken for the rounding of equal values.
_ROUNDING = 1e-12


class MeanSquares(NamedTuple):
    """Mean squares of a two-way layout of users and seeds without replication."""

    users: float
    seeds: float
    interaction: float


def mean_squares(values: np.ndarray) -> MeanSquares:
    """Compute the mean squares of the analysis of variance of crossed users and seeds.

    With variances s_u, s_s and s_us of users, seeds, and interaction with error, their expectations are
    S s_u + s_us, U s_s + s_us and s_us (Searle, Casella and McCulloch, Variance Components, 1992, chapter 4): the
    method of moments equates the two.

    Parameters
    ----------
    values
        float64 [U, S], at least two of each.
    """
    users, seeds = values.shape
    by_user, by_seed, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = values - by_user[:, None] - by_seed + mean
    return MeanSquares(
        seeds * float(((by_user - mean) ** 2).sum()) / (users - 1),
        users * float(((by_seed - mean) ** 2).sum()) / (seeds - 1),
        float((rest**2).sum()) / ((users - 1) * (seeds - 1)),
    )


@dataclass(frozen=True)
class Mean:
    """Mean with its standard error, and the degrees of freedom of the t-distribution that the two follow.

    `se` and `df` are NaN where they cannot be told.
    """

    value: float
    se: float
    df: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval."""
        half = self._quantile((1 + level) / 2) * self.se
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided p-value of mean 0; 1 for a mean of exactly 0."""
        if np.isnan(self.se):
            return float("nan")
        if self.value == 0:
            return 1.0
        if self.se == 0:
            return 0.0
        from scipy import special  # scipy.stats takes two seconds to import

        return float(2.0 * special.stdtr(self.df, -abs(self.value) / self.se))

    @property
    def detectable(self) -> float:
        """The smallest true mean that is told from 0 at 5% with power 0.8."""
        return (self._quantile(0.975) + self._quantile(0.8)) * self.se

    def _quantile(self, p: float) -> float:
        from scipy import special

        return float(special.stdtrit(self.df, p)) if self.df > 0 else float("nan")


def crossed_mean(parts: Sequence[np.ndarray], over_seeds: bool = True) -> Mean:
    """Estimate a mean over users and seeds, both drawn at random and crossed.

    Its variance is s_u / U + s_s / S + s_us / (U S), in mean squares (MS_u + MS_s - MS_us) / (U S); a component that
    comes out negative is cut to 0. The degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946): with few
    seeds that matter they come near S - 1. Seeds are a source of variance like users: Bouthillier et al., Accounting
    for Variance in Machine Learning Benchmarks, MLSys 2021.

    Parameters
    ----------
    parts
        float64 [U, S] each: the mean of their sum is wanted. All have the same users, and seeds of their own, which
        are independent between parts; one with a single column has no part in the variance of seeds.
    over_seeds
        False: the seeds are fixed, and users alone are drawn: the t-test over users.
    """
    by_user = np.sum([part.mean(axis=1) for part in parts], axis=0)
    users = len(by_user)
    if not users:
        return Mean(float("nan"), float("nan"), float("nan"))
    value = float(by_user.mean())
    if abs(value) <= _ROUNDING * max(float(np.abs(part).max()) for part in parts):
        value = 0.0
    if users < 2:
        return Mean(value, float("nan"), float("nan"))
    # variances of the mean with their degrees of freedom
    terms = [(float(by_user.var(ddof=1)) / users, float(users - 1))]
    seeds, noise = [], []
    for part in parts if over_seeds else ():
        count = part.shape[1]
        if count > 1:
            found = mean_squares(part)
            seeds.append((found.seeds / part.size, count - 1.0))
            noise.append((found.interaction / part.size, (users - 1.0) * (count - 1)))
    pairs = list(zip(seeds, noise, strict=True))
    if sum(term for term, _ in noise) > terms[0][0]:  # no variance of users
        terms = [max(pair) for pair in pairs]
    else:
        terms += [term for (s, df), (rest, rest_df) in pairs if s > rest for term in ((s, df), (-rest, rest_df))]
    variance = sum(term for term, _ in terms)
    if not variance > 0:
        return Mean(value, 0.0, users - 1.0)
    return Mean(value, variance**0.5, variance**2 / sum(term**2 / df for term, df in terms))


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
