"""Board values, intervals and comparisons, all with the user as the unit.

Everything works on a tidy frame with one row per seed, fold and user: [seed, fold, user_id, value]. A board's value is
the mean over users in a fold, then over folds, then over seeds. A user's folds and seeds are not independent draws:
they stay together whenever users are resampled or tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from protocols.errors import BenchError
from protocols.evaluation.resampling import bootstrap, percentiles
from protocols.evaluation.significance_tests import holm, sign_flip_test, t_test

MIN_SEEDS = 3
# A comparison is underpowered if it misses a true difference of this share of the baseline more than one time in five.
POWERED_SHARE = 0.1
# Folds with fewer users are underpowered, whatever is compared.
MIN_USERS = 100


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
        [seed, fold, user_id, value]; the order of its rows does not matter.
    level
        Coverage.
    resamples, seed
        Number of bootstrap samples, and of the draw.

    Returns
    -------
    tuple of float
        NaN where there is no value.
    """
    return percentiles(bootstrap([frame], resamples=resamples, seed=seed)[:, 0], level)


@dataclass(frozen=True)
class Comparison:
    """Comparison of row a with row b on the same users.

    Attributes
    ----------
    mean_a, mean_b
        Board values.
    effect
        mean_a - mean_b.
    low, high
        95% bootstrap interval of the effect.
    relative
        effect / mean_b; NaN where that is 0.
    p_t, p_permutation
        Two-sided: t-test on the per-user differences, and sign flips of them.
    n_users, n_seeds
        Users compared; the smaller number of seeds of the rows that depend on one (3, which is enough, if none does).
    detectable
        The smallest true difference found with power 0.8 at 5% two-sided (normal approximation).
    smallest_fold
        Users of the fold that has fewest.
    """

    mean_a: float
    mean_b: float
    effect: float
    low: float
    high: float
    relative: float
    p_t: float
    p_permutation: float
    n_users: int
    n_seeds: int
    detectable: float
    smallest_fold: int

    def significant(self, p: float | None = None, alpha: float = 0.05) -> bool | None:
        """Compare `p` (adjusted for its family; default: the permutation p) with `alpha`.

        None under three seeds: no mark then.
        """
        return None if self.n_seeds < MIN_SEEDS else (self.p_permutation if p is None else p) < alpha

    @property
    def underpowered(self) -> bool:
        """True where a true difference of a tenth of mean_b would be missed more than one time in five."""
        return not self.detectable <= POWERED_SHARE * abs(self.mean_b)


def seed_average(frame: pd.DataFrame, name: str = "") -> pd.Series:
    """Average each user of each fold over the seeds.

    Parameters
    ----------
    frame
        [seed, fold, user_id, value].
    name
        Of the row, for the message.

    Returns
    -------
    pd.Series
        float64, indexed by (fold, user_id), sorted.

    Raises
    ------
    BenchError
        If a user is not there exactly once for each seed.
    """
    # in order of seeds, or the last bit would depend on the order of files on a disk
    frame = frame.dropna(subset="value").sort_values("seed", kind="stable")
    rows = frame.groupby(["fold", "user_id"])["value"].agg(["mean", "count"])
    seeds = frame["seed"].nunique()
    odd = rows.index[rows["count"] != seeds]
    if len(odd):
        raise BenchError(
            f"row {name}: user {odd[0][1]!r} of fold {odd[0][0]} is not there once for each of {seeds} seeds"
        )
    return rows["mean"].rename("value")


def _same_users(a: pd.Series, b: pd.Series) -> None:
    if not a.index.equals(b.index):
        odd = a.index.symmetric_difference(b.index)[0]
        raise BenchError(
            f"the two rows were not evaluated on the same users: user {odd[1]!r} of fold {odd[0]} is in one only",
            remedy="compare rows of the same dataset, protocol and folds",
        )


def _tidy(averages: pd.Series) -> pd.DataFrame:
    return averages.reset_index().assign(seed=0)


def _per_user(differences: pd.DataFrame) -> np.ndarray:
    """Compute one number a user, weighted so that their plain mean is the board's difference.

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


class Panel:
    """Rows of one board on the same users, for intervals and pairwise comparisons.

    Users are drawn once for all rows, so a grid of comparisons costs little more than one.

    Parameters
    ----------
    frames
        [seed, fold, user_id, value] of each row.
    names
        Of the rows, for messages.
    seeded
        True for rows whose results depend on the seed; others (popularity) need no three seeds.
    resamples, seed
        Of the bootstrap, and of all draws.

    Raises
    ------
    BenchError
        If two rows do not hold the same users in the same folds.
    """

    def __init__(
        self,
        frames: Sequence[pd.DataFrame],
        names: Sequence[str] | None = None,
        *,
        seeded: Sequence[bool] | None = None,
        resamples: int = 2000,
        seed: int = 0,
    ) -> None:
        names = [str(at) for at in range(len(frames))] if names is None else names
        seeded = [True] * len(frames) if seeded is None else seeded
        self.averages = [seed_average(frame, name) for frame, name in zip(frames, names, strict=True)]
        for averages in self.averages[1:]:
            _same_users(self.averages[0], averages)
            averages.index = self.averages[0].index  # the same object: subtracting then aligns nothing
        tidy = [_tidy(averages) for averages in self.averages]
        self.means = [board_mean(frame) for frame in tidy]
        self._seeds = [frame["seed"].nunique() if s else None for frame, s in zip(frames, seeded, strict=True)]
        self._draws = bootstrap(tidy, resamples=resamples, seed=seed)
        self._seed = seed
        self._compared: dict[tuple[int, int, int], Comparison] = {}

    def interval(self, row: int, level: float = 0.95) -> tuple[float, float]:
        """Bootstrap interval of a row's board value."""
        return percentiles(self._draws[:, row], level)

    def family(
        self, pairs: Sequence[tuple[int, int]], correction: Callable[[Sequence[float]], np.ndarray] = holm
    ) -> list[tuple[Comparison, float]]:
        """Compare pairs of rows as one family: each comparison with its p-value adjusted for all of them."""
        found = [self.compare(a, b) for a, b in pairs]
        adjusted = correction([comparison.p_permutation for comparison in found])
        return [(comparison, float(p)) for comparison, p in zip(found, adjusted, strict=True)]

    def compare(self, a: int, b: int, *, permutations: int = 10_000) -> Comparison:
        """Compare row a with row b, once however often it is asked for."""
        key = (a, b, permutations)
        if key not in self._compared:
            self._compared[key] = self._compare(a, b, permutations)
        return self._compared[key]

    def _compare(self, a: int, b: int, permutations: int) -> Comparison:
        differences = _tidy(self.averages[a] - self.averages[b])
        d = _per_user(differences)
        low, high = percentiles(self._draws[:, a] - self._draws[:, b])
        base, effect = self.means[b], board_mean(differences)
        spread = float(d.std(ddof=1)) if len(d) > 1 else float("nan")
        power = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
        sizes = differences["fold"].value_counts()
        return Comparison(
            mean_a=self.means[a],
            mean_b=base,
            effect=effect,
            low=low,
            high=high,
            relative=effect / base if base else float("nan"),
            p_t=t_test(d),
            p_permutation=sign_flip_test(d, permutations=permutations, seed=self._seed),
            n_users=len(d),
            n_seeds=min((n for n in (self._seeds[a], self._seeds[b]) if n is not None), default=MIN_SEEDS),
            detectable=power * spread / float(np.sqrt(max(len(d), 1))),
            smallest_fold=int(sizes.min()) if len(sizes) else 0,
        )


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    seeded: tuple[bool, bool] = (True, True),
    resamples: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two rows of a board on their common users, see `Panel`.

    Parameters
    ----------
    a, b
        [seed, fold, user_id, value] of the two rows.
    permutations
        Of the sign-flip test.
    """
    panel = Panel([a, b], ("a", "b"), seeded=seeded, resamples=resamples, seed=seed)
    return panel.compare(0, 1, permutations=permutations)
