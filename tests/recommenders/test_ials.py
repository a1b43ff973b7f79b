"""iALS against implicit, and against its normal equations."""

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.data.history_scorer import taken
from recommenders.ials import IALS


def test_a_sweep_is_that_of_implicit(make_data, planted):
    als = pytest.importorskip("implicit.cpu.als")
    from scipy.sparse import csr_matrix

    users = taken(make_data(planted[0]), np.float64)
    model = IALS(factors=6, l2=0.2, scaling=0.0, unobserved=0.25)
    items = np.random.default_rng(0).normal(size=(30, 6))
    peer = als.AlternatingLeastSquares(6, 0.2 / 0.25, 1 / 0.25, np.float64, use_cg=False, iterations=1, num_threads=1)
    peer.item_factors, peer.user_factors = items.copy(), np.zeros((users.shape[0], 6))
    peer.fit(csr_matrix(users), show_progress=False)
    mine = model.solve(users, items)
    np.testing.assert_allclose(mine, peer.user_factors, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.solve(users.T.tocsr(), mine), peer.item_factors, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scaling", [0.0, 1.0])
def test_rows_of_any_number_of_items_solve_their_normal_equations(scaling):
    """Fewer items than factors, as many, more, and none; weights below, at and above that of what was not taken."""
    from scipy.sparse import csr_array

    rng, model = np.random.default_rng(0), IALS(factors=4, l2=0.03, scaling=scaling, unobserved=0.25)
    other, dense = rng.normal(size=(12, 4)), np.zeros((9, 12))
    for row, count in enumerate([3, 0, 4, 12, 1, 7, 4, 2, 0]):
        dense[row, rng.permutation(12)[:count]] = rng.choice([0.1, 0.25, 0.5, 1.0], count)
    expected = []
    for row in dense:
        weight = np.where(row > 0, row, model.unobserved)
        penalty = model.l2 * ((row > 0).sum() + model.unobserved * 12) ** scaling
        expected.append(np.linalg.solve(other.T @ (other * weight[:, None]) + penalty * np.eye(4), other.T @ row))
    np.testing.assert_allclose(model.solve(csr_array(dense), other), expected, rtol=1e-9, atol=1e-12)
    assert model.solve(csr_array((0, 12)), other).shape == (0, 4)


def test_a_history_is_scored_by_the_factors_that_fit_it(make_data, planted):
    data = make_data(planted[0], n_cold=2)
    model = IALS(factors=8, l2=0.01, decay=0.5)
    scorer = model.fit(FitRequest(data, seed=3)).scorer
    items, history = scorer.items, np.array([4, 31, 7, 4])
    weights = np.full(30, model.unobserved)
    weights[[7, 4]] = 0.5, 1.0
    wanted = np.isin(np.arange(30), [4, 7]) * weights
    penalty = model.l2 * (2 + model.unobserved * 30)
    user = np.linalg.solve(items.T @ (items * weights[:, None]) + penalty * np.eye(8), items.T @ wanted)
    found = scorer.score(["nobody"], [history])[0]
    np.testing.assert_allclose(found[:30], items @ user, rtol=1e-4, atol=1e-6)
    assert (found[30:] == -np.inf).all()


def test_learns_the_tastes_that_are_planted(make_data):
    rng = np.random.default_rng(0)
    own = [rng.permutation(6) + user % 5 * 6 for user in range(100)]
    data = make_data([row[:-2] for row in own], n_warm=30)
    found = IALS(factors=8).fit(FitRequest(data, seed=1)).scorer.score(list(data.users), data.sequences)
    for row, items in zip(found, own, strict=True):
        row[items[:-2]] = -np.inf
        assert set(np.argsort(-row)[:2]) == set(items[-2:])


@pytest.mark.parametrize("wrong", [{"factors": 0}, {"l2": 0}, {"scaling": 2}, {"unobserved": 0}, {"decay": 0}])
def test_options_without_sense_are_refused(make_data, wrong):
    with pytest.raises(UserError, match="expected a number"):
        IALS(**wrong).fit(FitRequest(make_data([[0, 1]])))
