"""Board values, intervals and comparisons, all with the user as the unit.

Everything works on a tidy frame with one row per seed, fold and user: [seed, fold, user_id, value]. A board's value is
the mean over users in a fold, then over folds, then over seeds. A user's folds and seeds are not independent draws:
they stay together whenever users are resampled or tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from protocols.errors import BenchError

# Elements of a block of resamples: bounds memory at about 64 MB whatever the number of users.
_BLOCK = 8_000_000
MIN_SEEDS = 3


def board_mean(frame: pd.DataFrame) -> float:
    """Average over users in a fold, then over folds, then over seeds; rows without a value (NaN) do not count."""
    folds = frame.dropna(subset="value").groupby(["seed", "fold"])["value"].mean()
    return float(folds.groupby("seed").mean().mean())


def seed_means(frame: pd.DataFrame) -> pd.Series:
    """Board value of every seed alone, indexed by seed."""
    return frame.dropna(subset="value").groupby(["seed", "fold"])["value"].mean().groupby("seed").mean()


def seed_sd(frame: pd.DataFrame) -> float:
    """Standard deviation (n - 1) of the board value between seeds; NaN with one seed."""
    means = seed_means(frame)
    return float(means.std(ddof=1)) if len(means) > 1 else float("nan")


def interval(frame: pd.DataFrame, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of `board_mean`: users are resampled with all their folds and seeds together.

    Parameters
    ----------
    frame
        [seed, fold, user_id, value].
    level
        Coverage.
    resamples, seed
        Number of bootstrap samples, and of the draw.

    Returns
    -------
    tuple of float
        NaN where there is no value.
    """
    frame = frame.dropna(subset="value")
    if frame.empty:
        return float("nan"), float("nan")
    values, present, seeds = _by_user(frame)
    means = np.concatenate(
        [_means(draws @ values, draws @ present, seeds) for draws in _draws(len(values), resamples, seed)]
    )
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _by_user(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value sums and counts [users, cells] of every user in every (seed, fold) cell, and the seed of each cell."""
    user, users = pd.factorize(frame["user_id"])
    cell = frame.groupby(["seed", "fold"]).ngroup().to_numpy()
    keys = frame[["seed", "fold"]].drop_duplicates().sort_values(["seed", "fold"])
    shape = (len(users), len(keys))
    values, present = np.zeros(shape), np.zeros(shape)
    np.add.at(values, (user, cell), frame["value"].to_numpy(np.float64))
    np.add.at(present, (user, cell), 1.0)
    return values, present, pd.factorize(keys["seed"])[0]


def _means(sums: np.ndarray, counts: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Board values [resamples] from per-cell sums and counts; a cell that drew nobody is left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = sums / counts
    per_seed = [np.nanmean(cells[:, seeds == s], axis=1) for s in np.unique(seeds)]
    return np.mean(per_seed, axis=0)


def _draws(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks [r, users] of how often each user is drawn."""
    rng = np.random.default_rng([seed, 0xB007])
    step = max(1, _BLOCK // users)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picked = rng.integers(0, users, (rows, users)) + np.arange(rows)[:, None] * users
        yield np.bincount(picked.ravel(), minlength=rows * users).reshape(rows, users).astype(np.float64)


@dataclass(frozen=True)
class Comparison:
    """Row a against row b on the same users.

    Attributes
    ----------
    effect
        Board value of a minus that of b.
    low, high
        95% bootstrap interval of the effect.
    relative
        effect / board value of b; NaN where that is 0.
    p_t, p_permutation
        Two-sided: t-test on the per-user differences, and sign flips of them.
    n_users, n_seeds
        Users compared; the smaller number of seeds of the seeded rows.
    detectable
        The smallest true difference found with power 0.8 at 5% two-sided (normal approximation).
    """

    effect: float
    low: float
    high: float
    relative: float
    p_t: float
    p_permutation: float
    n_users: int
    n_seeds: int
    detectable: float

    def significant(self, p: float | None = None, alpha: float = 0.05) -> bool | None:
        """Whether `p` (adjusted for its family; default: the permutation p) is below `alpha`.

        None under three seeds: no mark then.
        """
        return None if self.n_seeds < MIN_SEEDS else (self.p_permutation if p is None else p) < alpha


def user_differences(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Subtract b from a per fold and user, each averaged over its seeds.

    Returns
    -------
    pd.DataFrame
        [seed (0), fold, user_id, value]: its `board_mean` is the difference of the boards.

    Raises
    ------
    BenchError
        If the two do not hold the same users in the same folds, or a seed lacks some.
    """
    means = []
    for name, frame in (("a", a), ("b", b)):
        rows = frame.dropna(subset="value").groupby(["fold", "user_id"])["value"].agg(["mean", "count"])
        seeds = frame["seed"].nunique()
        if len(rows) and (rows["count"] != seeds).any():
            fold, user = rows.index[rows["count"] != seeds][0]
            raise BenchError(f"row {name}: user {user!r} of fold {fold} is not there once for each of {seeds} seeds")
        means.append(rows["mean"])
    if not means[0].index.equals(means[1].index):
        odd = means[0].index.symmetric_difference(means[1].index)[0]
        raise BenchError(
            f"the two rows were not evaluated on the same users: user {odd[1]!r} of fold {odd[0]} is in one only",
            remedy="compare rows of the same dataset, protocol and folds",
        )
    return (means[0] - means[1]).rename("value").reset_index().assign(seed=0)


def per_user(differences: pd.DataFrame) -> np.ndarray:
    """One number a user, weighted so that their plain mean is the board's difference.

    A user's difference in a fold of n users counts U / (F n), with U users and F folds in all: users of small folds
    weigh more, exactly as the mean over folds makes them.

    Returns
    -------
    np.ndarray
        float64 [U].
    """
    size = differences.groupby("fold")["user_id"].transform("size")
    weighted = differences["value"] / (size * differences["fold"].nunique())
    sums = weighted.groupby(differences["user_id"]).sum()
    return sums.to_numpy() * len(sums)


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    seeded: tuple[bool, bool] = (True, True),
    resamples: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two rows of a board on their common users.

    Parameters
    ----------
    a, b
        [seed, fold, user_id, value] of the two rows.
    seeded
        Whether a's and b's results depend on the seed at all: a row that does not (popularity) needs no three seeds.
    resamples, permutations, seed
        Of the bootstrap, of the permutation test, and of their draws.

    Raises
    ------
    BenchError
        If the two do not hold the same users in the same folds.
    """
    differences = user_differences(a, b)
    d = per_user(differences)
    low, high = interval(differences, resamples=resamples, seed=seed)
    base = board_mean(b)
    effect = board_mean(differences)
    counts = [f["seed"].nunique() for f, s in zip((a, b), seeded, strict=True) if s]
    spread = float(d.std(ddof=1)) if len(d) > 1 else float("nan")
    power = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return Comparison(
        effect=effect,
        low=low,
        high=high,
        relative=effect / base if base else float("nan"),
        p_t=t_test(d),
        p_permutation=sign_flip_test(d, permutations=permutations, seed=seed),
        n_users=len(d),
        n_seeds=min(counts, default=MIN_SEEDS),
        detectable=power * spread / float(np.sqrt(max(len(d), 1))),
    )


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
    d = d[d != 0]  # a zero stays zero whatever its sign
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
    """Adjust p-values so that the expected share of false positives among the found is kept (1995)."""
    p = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(p, kind="stable")[::-1]
    adjusted = np.minimum.accumulate(np.minimum(p[order] * len(p) / np.arange(len(p), 0, -1), 1.0))
    out = np.empty_like(p)
    out[order] = adjusted
    return out
