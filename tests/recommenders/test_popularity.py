"""Popularity, and the ceiling of simulated data."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.oracle import Oracle
from recommenders.pop import DAY_MS, Pop, RecentPop


def test_pop_counts_fitted_rows(make_data):
    data = make_data([[0, 1, 2], [1, 2], [2]], n_cold=2)
    result = Pop().fit(FitRequest(data))
    scores = result.scorer.score(["u0000", "never seen"], [np.array([2]), np.array([4])])
    assert scores.dtype == np.float32
    assert scores.tolist() == [[1, 2, 3, -np.inf, -np.inf]] * 2
    assert (result.epochs, result.parameters) == (0, 0)


def test_oracle_is_handed_over_for_simulated_data_only(make_data):
    data, scorer = make_data([[0, 1]]), object()
    assert Oracle().fit(FitRequest(data, oracle=lambda given: scorer if given is data else None)).scorer is scorer
    with pytest.raises(UserError, match="simulated"):
        Oracle().fit(FitRequest(data))


def test_recent_popularity_halves_with_every_half_life(make_data):
    data = make_data([[0, 1], [0, 2]], n_cold=1)
    times = np.array([0, 7, 0, 14]) * DAY_MS
    found = RecentPop(half_life=7).fit(FitRequest(replace(data, timestamp=times))).scorer.score(["a"], [np.array([0])])
    np.testing.assert_allclose(found[0], [0.25 + 0.25, 0.5, 1.0, -np.inf])


def test_a_half_life_without_sense_is_refused(make_data):
    with pytest.raises(UserError, match="expected a number"):
        RecentPop(half_life=0).fit(FitRequest(make_data([[0, 1]])))
