"""False positives on a grid where nothing differs: the user is the unit, or the tests lie."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from protocols.evaluation.significance_tests import benjamini_hochberg, holm
from protocols.evaluation.statistics import compare

RUNS, USERS, FOLDS = 200, 120, 4


def null_rows(rng):
    """Two rows of a board that do not differ, except that a user may like one of them in all of his folds."""
    member = rng.random((FOLDS, USERS)) < 0.7
    member[rng.integers(FOLDS, size=USERS), np.arange(USERS)] = True
    fold, user = np.nonzero(member)
    base = rng.normal(0.3, 0.1, len(user))
    taste = rng.normal(0, 0.15, USERS)
    key = {"seed": 0, "fold": fold, "user_id": user}
    a = pd.DataFrame({**key, "value": base + taste[user] + rng.normal(0, 0.1, len(user))})
    return a, pd.DataFrame({**key, "value": base})


@pytest.fixture(scope="module")
def p_values():
    rng = np.random.default_rng(11)
    rows = []
    for number in range(RUNS):
        a, b = null_rows(rng)
        found = compare(a, b, resamples=1, permutations=999, seed=number)
        # every (fold, user) as if it were somebody else
        naive = stats.ttest_rel(a["value"], b["value"]).pvalue
        rows.append((found.p_t, found.p_permutation, naive))
    return pd.DataFrame(rows, columns=["t", "sign flips", "folds as independent"])


def test_false_positives_come_at_the_nominal_rate(p_values):
    rates = (p_values < 0.05).mean()
    print(f"\nnull grid, {RUNS} comparisons: false positives at 5%: {rates.round(3).to_dict()}")
    # nobody sees more than these in 999 of 1000 such grids
    low, high = (n / RUNS for n in stats.binom.interval(0.999, RUNS, 0.05))
    assert 0.0 < low < 0.02 < 0.09 < high < 0.12
    for test in ("t", "sign flips"):
        assert 0.02 <= rates[test] <= 0.09
    assert np.corrcoef(p_values["t"], p_values["sign flips"])[0, 1] > 0.99


def test_p_values_under_the_null_are_uniform(p_values):
    for test in ("t", "sign flips"):
        assert stats.kstest(p_values[test], "uniform").pvalue > 0.01
    assert stats.kstest(p_values["folds as independent"], "uniform").pvalue < 1e-6


def test_folds_of_a_user_are_not_independent(p_values):
    assert (p_values["folds as independent"] < 0.05).mean() > 0.15


def test_a_family_keeps_its_own_rate(p_values):
    families = p_values["t"].to_numpy().reshape(20, 10)
    wrong = sum((holm(family) < 0.05).any() for family in families)
    assert wrong <= stats.binom.ppf(0.999, 20, 0.05)
    assert (families < 0.05).any(axis=1).sum() > wrong  # without the correction there are more
    assert (benjamini_hochberg(p_values["t"]) < 0.05).sum() <= 1
