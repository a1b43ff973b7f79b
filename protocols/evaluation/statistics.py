"""Board values, intervals and comparisons over users and seeds.

Everything works on `RowValues`, or on what they are made of: a tidy frame with one row per seed, fold and user, [seed,
fold, user_id, value]. A board's value is the mean over users in a fold, then over folds, then over seeds. Users are
drawn from a population, and so are seeds (initialisation, order of batches, derangement of a shuffled control): both
are random effects, crossed, see `protocols.evaluation.significance_tests.crossed_mean`. A user's folds are not
independent draws and stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from protocols.errors import BenchError
from protocols.evaluation.resampling import rank_intervals
from protocols.evaluation.row_values import RowValues
from protocols.evaluation.significance_tests import Mean, crossed_mean, holm

if TYPE_CHECKING:
    import pandas as pd

Values: TypeAlias = "RowValues | pd.DataFrame"

# With fewer seeds their variance is hardly known: intervals and tests are over users, for these seeds only.
MIN_SEEDS = 5
# A comparison is underpowered if it misses a true difference of this share of the baseline more than one time in five.
POWERED_SHARE = 0.1
# Folds with fewer users are underpowered, whatever is compared.
MIN_USERS = 100


def board_mean(values: Values) -> float:
    """Average over users in a fold, then over folds, then over seeds; users without a value (NaN) do not count."""
    return _row_values(values).mean


def seed_sd(values: Values) -> float:
    """Standard deviation (n - 1) of the board value between seeds; NaN with one seed."""
    means = _row_values(values).seed_means
    means = means[~np.isnan(means)]
    return float(means.std(ddof=1)) if len(means) > 1 else float("nan")


def interval(values: Values, level: float = 0.95) -> tuple[float, float]:
    """Interval of `board_mean` by crossed random effects of users and seeds; under five seeds for these seeds only.

    Parameters
    ----------
    values
        Of one row.
    level
        Coverage.

    Returns
    -------
    tuple of float
        NaN where there is no value.

    Raises
    ------
    BenchError
        If a user is not there exactly once for each seed.
    """
    return Panel([values]).interval(0, level)


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
        95% interval of the effect.
    relative
        effect / mean_b; NaN where that is 0.
    p
        Two-sided p-value of no effect; NaN under five seeds.
    df
        Satterthwaite's degrees of freedom of interval and p.
    n_users, n_seeds
        Users compared; the smaller number of seeds of the rows that depend on one (5, which is enough, if none does).
    detectable
        The smallest true difference found with power 0.8 at 5% two-sided.
    smallest_fold
        Users of the fold that has fewest.
    """

    mean_a: float
    mean_b: float
    effect: float
    low: float
    high: float
    relative: float
    p: float
    df: float
    n_users: int
    n_seeds: int
    detectable: float
    smallest_fold: int

    @property
    def these_seeds_only(self) -> bool:
        """True under five seeds: other seeds may give another difference than the interval allows."""
        return self.n_seeds < MIN_SEEDS

    def significant(self, p: float | None = None, alpha: float = 0.05) -> bool | None:
        """Compare `p` (adjusted for its family; default: the p of this comparison alone) with `alpha`.

        None under five seeds: no mark then.
        """
        return None if self.these_seeds_only else (self.p if p is None else p) < alpha

    @property
    def underpowered(self) -> bool:
        """True where a true difference of a tenth of mean_b would be missed more than one time in five."""
        return not self.detectable <= POWERED_SHARE * abs(self.mean_b)


class Panel:
    """Rows of one board on the same users, for intervals, ranks and pairwise comparisons.

    Parameters
    ----------
    rows
        Values of each row.
    names
        Of the rows, for messages.
    seeded
        True for rows whose results depend on the seed; others (popularity) need no five seeds.

    Raises
    ------
    BenchError
        If two rows do not hold the same users in the same folds, or a row lacks a user under one of its seeds.
    """

    def __init__(
        self,
        rows: Sequence[Values],
        names: Sequence[str] | None = None,
        *,
        seeded: Sequence[bool] | None = None,
    ) -> None:
        names = [str(at) for at in range(len(rows))] if names is None else names
        seeded = [True] * len(rows) if seeded is None else seeded
        found = [_row_values(row, name).complete(name) for row, name in zip(rows, names, strict=True)]
        for row in found[1:]:
            _require_same_users(found[0], row)
        self._seeds = [row.seeds if depends else None for row, depends in zip(found, seeded, strict=True)]
        self._values = _per_user(found, seeded)
        self.means = [float(values.mean()) if values.size else float("nan") for values in self._values]
        self._smallest_fold = min(np.unique(found[0].fold, return_counts=True)[1].tolist(), default=0) if found else 0
        self._compared: dict[tuple[int, int], Comparison] = {}

    def interval(self, row: int, level: float = 0.95) -> tuple[float, float]:
        """Interval of a row's board value; over users alone under five seeds."""
        return crossed_mean([self._values[row]], self._enough(row)).interval(level)

    def rank_intervals(self, level: float = 0.95) -> list[tuple[int, int]]:
        """Lowest and highest rank of each row, users and seeds resampled together for all rows.

        The rows must be in order, best first. Under five seeds users alone are resampled.
        """
        enough = all(self._enough(row) for row in range(len(self._values)))
        values = self._values if enough else [one.mean(axis=1, keepdims=True) for one in self._values]
        return rank_intervals(values, level=level)

    def family(
        self, pairs: Sequence[tuple[int, int]], correction: Callable[[Sequence[float]], np.ndarray] = holm
    ) -> list[tuple[Comparison, float]]:
        """Compare pairs of rows as one family: each comparison with its p-value adjusted for all that have one."""
        found = [self.compare(a, b) for a, b in pairs]
        adjusted = adjust([comparison.p for comparison in found], correction)
        return [(comparison, float(p)) for comparison, p in zip(found, adjusted, strict=True)]

    def compare(self, a: int, b: int) -> Comparison:
        """Compare row a with row b, once however often it is asked for.

        Seed k of a is paired with seed k of b where both have the same seeds: what they share (a derangement, the
        order of batches) cancels, and what they do not adds up. Other seeds are independent ones of either row.
        """
        if (a, b) not in self._compared:
            self._compared[a, b] = self._compare(a, b)
        return self._compared[a, b]

    def _enough(self, *rows: int) -> bool:
        return self._n_seeds(*rows) >= MIN_SEEDS

    def _n_seeds(self, *rows: int) -> int:
        return min((len(seeds) for row in rows if (seeds := self._seeds[row]) is not None), default=MIN_SEEDS)

    def _difference(self, a: int, b: int) -> Mean:
        first, second = self._values[a], self._values[b]
        paired = self._seeds[a] == self._seeds[b] or None in (self._seeds[a], self._seeds[b])
        return crossed_mean([first - second] if paired else [first, -second], self._enough(a, b))

    def _compare(self, a: int, b: int) -> Comparison:
        found, base = self._difference(a, b), self.means[b]
        low, high = found.interval()
        return Comparison(
            mean_a=self.means[a],
            mean_b=base,
            effect=found.value,
            low=low,
            high=high,
            relative=found.value / base if base else float("nan"),
            p=found.p if self._enough(a, b) else float("nan"),
            df=found.df,
            n_users=len(self._values[a]),
            n_seeds=self._n_seeds(a, b),
            detectable=found.detectable,
            smallest_fold=self._smallest_fold,
        )


def compare(a: Values, b: Values, *, seeded: tuple[bool, bool] = (True, True)) -> Comparison:
    """Compare two rows of a board on their users, see `Panel`."""
    return Panel([a, b], ("a", "b"), seeded=seeded).compare(0, 1)


def adjust(pvalues: Sequence[float], correction: Callable[[Sequence[float]], np.ndarray]) -> np.ndarray:
    """Correct the p-values of a family; NaN stays, and does not count."""
    p = np.array(pvalues, dtype=np.float64)
    known = ~np.isnan(p)
    if known.any():
        p[known] = correction(p[known].tolist())
    return p


def _row_values(values: Values, name: str = "") -> RowValues:
    return values if isinstance(values, RowValues) else RowValues.of(values, name)


def _require_same_users(a: RowValues, b: RowValues) -> None:
    if not (np.array_equal(a.fold, b.fold) and np.array_equal(a.user, b.user)):
        both = [set(zip(row.fold.tolist(), row.user.tolist(), strict=True)) for row in (a, b)]
        fold, user = min(both[0] ^ both[1])
        raise BenchError(
            f"the two rows were not evaluated on the same users: user {user!r} of fold {fold} is in one only",
            remedy="compare rows of the same dataset, protocol and folds",
        )


def _per_user(rows: Sequence[RowValues], seeded: Sequence[bool]) -> list[np.ndarray]:
    """Compute one number a user and seed, weighted so that their plain mean is the row's board value.

    A value in a fold of n users counts U / (F n), with U users and F folds in all: users of small folds weigh more,
    exactly as the mean over folds makes them. It counts as its deviation from the fold's mean, so that a user absent
    from a fold is no user with a low value there (linearisation of a ratio: Cochran, Sampling Techniques, 1977,
    chapter 6).

    Returns
    -------
    list of np.ndarray
        float64 [U, S] each; one column for rows that do not depend on the seed.
    """
    if not rows or not len(rows[0].fold):
        return [np.empty((0, 1))] * len(rows)
    fold, user = (np.unique(keys, return_inverse=True)[1] for keys in (rows[0].fold, rows[0].user))
    sizes = np.bincount(fold)
    n_users = user.max() + 1
    weight = n_users / (len(sizes) * sizes[fold])
    found = []
    for row, depends in zip(rows, seeded, strict=True):
        values = row.values if depends else row.values.mean(axis=0, keepdims=True)
        means = np.bincount(fold, values.mean(axis=0)) / sizes
        deviations = (values - means[fold]) * weight
        sums = [np.bincount(user, one, minlength=n_users) for one in deviations]
        found.append(means.mean() + np.stack(sums, axis=1))
    return found
