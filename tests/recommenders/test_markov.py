"""Markov chain and sequence rules by hand."""

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.markov import Markov

SEQUENCES = [[0, 1, 2], [0, 1], [1, 0, 2]]
POPULARITY = np.array([3, 3, 2]) / 8


def score(data, histories, **options):
    found = Markov(**options).fit(FitRequest(data)).scorer.score(["x"] * len(histories), histories)
    assert found.dtype == np.float32
    return found


def test_the_chain_is_smoothed_by_popularity(make_data):
    data = make_data(SEQUENCES, n_cold=1)
    found = score(data, [np.array([2, 0]), np.array([0, 3]), np.array([2]), np.array([], dtype=np.int64)], smoothing=2)
    after_0 = (np.array([0, 2, 1]) + 2 * POPULARITY) / (3 + 2)
    np.testing.assert_allclose(found[0, :3], after_0, rtol=1e-6)
    np.testing.assert_allclose(found[1:, :3], [POPULARITY] * 3, rtol=1e-6)  # nothing has followed a cold item or 2
    assert (found[:, 3] == -np.inf).all()


def test_rules_count_what_comes_later_by_its_distance_and_older_items_less(make_data):
    found = score(make_data(SEQUENCES), [np.array([1, 0])], steps=2, smoothing=1, decay=0.5)
    after_0 = (np.array([0, 2, 1 + 1 / 2]) + POPULARITY) / (3.5 + 1)
    after_1 = (np.array([1, 0, 1 + 1 / 2]) + POPULARITY) / (2.5 + 1)
    np.testing.assert_allclose(found[0], after_0 + 0.5 * after_1, rtol=1e-6)


def test_no_pair_spans_two_users(make_data):
    found = score(make_data([[0, 1], [2, 3]]), [np.array([1])], steps=5, smoothing=1e-9)
    np.testing.assert_allclose(found[0], 0.25, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"smoothing": 0}, {"decay": 1.5}])
def test_options_without_sense_are_refused(make_data, wrong):
    with pytest.raises(UserError, match="expected a number"):
        Markov(**wrong).fit(FitRequest(make_data([[0, 1]])))
