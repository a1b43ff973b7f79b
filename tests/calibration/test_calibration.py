"""False positives come at their nominal rate: users and seeds are drawn at random, or the tests lie."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from protocols.evaluation.significance_tests import benjamini_hochberg, crossed_mean, holm
from protocols.evaluation.statistics import compare

USERS, SEEDS, RUNS = 100, 5, 1000
SCRIPT = Path(__file__).with_name("aa.py")


@pytest.fixture(scope="module")
def aa():
    spec = importlib.util.spec_from_file_location("aa", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def null_values(rng, of_users, of_seeds, rest):
    """A difference that is 0 on average over users and seeds."""
    luck = rng.normal(0, of_seeds, SEEDS)
    return rng.normal(0, of_users, (USERS, 1)) + luck + rng.normal(0, rest, (USERS, SEEDS))


# variance of seeds from none to nearly all of that of the mean
@pytest.mark.parametrize("spread", [(1, 0, 0.3), (1, 0.3, 1), (0, 1, 1)])
@pytest.mark.parametrize("paired", [True, False])
def test_simulated_rates_lie_between_3_and_7_percent(spread, paired):
    rng = np.random.default_rng(0)
    p, alone = [], []
    for _ in range(RUNS):
        parts = [null_values(rng, *spread)] + ([] if paired else [null_values(rng, 0, *spread[1:])])
        p.append(crossed_mean(parts).p)
        alone.append(crossed_mean(parts, over_seeds=False).p)
    rate, users_alone = ((np.array(found) < 0.05).mean() for found in (p, alone))
    assert 0.03 <= rate <= 0.07
    assert users_alone > 0.15 if spread[1] else users_alone < 0.07


def test_where_neither_users_nor_seeds_matter_the_test_errs_to_the_safe_side():
    rng = np.random.default_rng(0)
    assert np.mean([crossed_mean([null_values(rng, 0, 0, 1)]).p < 0.05 for _ in range(RUNS)]) <= 0.05


def test_from_frames_on_the_rate_is_the_same_and_folds_are_not_independent(aa):
    rng = np.random.default_rng(11)
    found, naive = [], []
    for _ in range(40):
        a, b = aa.simulated_pair(rng, aa.SPREADS["users and seeds"], users=50, folds=4)
        found.append(compare(a, b).p)
        naive.append(stats.ttest_rel(a["value"], b["value"]).pvalue)
    low, high = (n / len(found) for n in stats.binom.interval(0.999, len(found), 0.05))
    assert low <= (np.array(found) < 0.05).mean() <= high
    assert (np.array(naive) < 0.05).mean() > 0.2


def test_a_family_keeps_its_own_rate():
    rng = np.random.default_rng(3)
    p = np.array([crossed_mean([null_values(rng, 1, 0.2, 1)]).p for _ in range(400)])
    wrong = sum((holm(family) < 0.05).any() for family in p.reshape(40, 10))
    assert wrong <= stats.binom.ppf(0.999, 40, 0.05)
    assert (p.reshape(40, 10) < 0.05).any(axis=1).sum() > wrong  # without the correction there are more
    assert (benjamini_hochberg(p) < 0.05).sum() <= 2


def test_the_script_says_how_it_is_run_and_its_parts_work(aa, tmp_path):
    assert "python tests/calibration/aa.py" in aa.__doc__
    factors = aa.write_log(tmp_path, users=20)
    assert aa.write_vectors(tmp_path, "x", factors) == f"published:{tmp_path / 'x.npy'}"
    assert len((tmp_path / "x.ids.txt").read_text().split()) == len(factors)
    assert aa.rates([(0.01, 0.2), (0.5, 0.01), (0.6, 0.02), (0.7, 0.03)]) == (0.25, 0.75)
