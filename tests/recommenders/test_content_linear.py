"""Linear models of features, `ridge` and `ease-content`, against least squares written out."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.ease import Ease
from recommenders.ease_content import EaseContent
from recommenders.ridge import Ridge

WARM, ITEMS = 30, 34
HISTORIES = [np.array([3, 5]), np.array([31, 4, 9])]
BINARY = np.zeros((2, WARM))
BINARY[[0, 0, 1, 1], [3, 5, 4, 9]] = 1


@pytest.fixture
def data(make_data, planted):
    return make_data(planted[0][:60], n_warm=WARM, n_cold=ITEMS - WARM)


@pytest.fixture
def features(make_features):
    return make_features(ITEMS, WARM, dim=4)


def users_by_items(data):
    matrix = np.zeros((len(data.users), data.n_warm))
    matrix[data.user, data.item] = 1
    return matrix


def score(model, data, features):
    scorer = model.fit(FitRequest(data, features, model.only_fusion)).scorer
    return scorer.score(["x"] * len(HISTORIES), HISTORIES)


def test_ridge_solves_its_normal_equations(data, features):
    """By Kronecker products: vec(A M C) = (C kron A) vec(M)."""
    x, l2 = users_by_items(data), 0.7
    z = np.hstack([features.vectors().astype(np.float64), np.ones((ITEMS, 1))])
    warm = z[:WARM]
    gram = x.T @ x
    left, right = warm.T @ gram @ warm, warm.T @ warm
    wanted = warm.T @ (gram - np.diag(np.diag(gram))) @ warm
    penalty = l2 * np.diag(left)[:-1].mean() * np.diag(right)[:-1].mean()
    system = np.kron(right, left) + penalty * np.eye(left.size)
    weights = np.linalg.solve(system, wanted.ravel(order="F")).reshape(left.shape, order="F")
    found = score(Ridge(l2=l2, decay=1.0), data, features)
    np.testing.assert_allclose(found, BINARY @ warm @ weights @ z.T, rtol=1e-3, atol=1e-5)


def test_ridge_learns_which_features_go_together_and_orders_cold_items_by_it(make_data, make_features):
    """Users of items of kind 0 take as many of kind 1, which similarity does not know."""
    rng = np.random.default_rng(1)
    kind = np.arange(ITEMS) % 4
    pairs = [rng.permutation(np.concatenate([rng.choice(np.flatnonzero(kind[:WARM] == k), 3) for k in two]))
             for two in [(0, 1), (2, 3)] * 60]  # fmt: skip
    data = make_data([*pairs, range(WARM)], n_warm=WARM, n_cold=ITEMS - WARM)
    features = make_features(0, WARM, values=np.eye(4, dtype=np.float32)[kind])
    scorer = Ridge(l2=0.1).fit(FitRequest(data, features, "replace")).scorer
    cold = scorer.score(["x"], [np.flatnonzero(kind[:WARM] == 0)[:2]])[0, WARM:]
    assert kind[WARM:][np.argmax(cold)] == 1


def test_ease_content_regresses_on_the_others_with_features_as_more_rows(data, features):
    z, l2, content = features.vectors().astype(np.float64), 20.0, 3.0
    rows = np.vstack([users_by_items(data), (content / z.shape[1]) ** 0.5 * z[:WARM].T])
    expected = np.zeros((WARM, ITEMS))
    for at in range(WARM):
        others = np.delete(np.arange(WARM), at)
        x = rows[:, others]
        expected[others, at] = np.linalg.solve(x.T @ x + l2 * np.eye(WARM - 1), x.T @ rows[:, at])
    for at in range(WARM, ITEMS):
        column = np.concatenate([np.zeros(len(data.users)), (content / z.shape[1]) ** 0.5 * z[at]])
        expected[:, at] = np.linalg.solve(rows.T @ rows + l2 * np.eye(WARM), rows.T @ column)
    found = score(EaseContent(l2=l2, content=content), data, features)
    np.testing.assert_allclose(found, BINARY @ expected, rtol=1e-3, atol=1e-6)


def test_ease_content_with_features_that_say_nothing_is_ease(data, features):
    same = replace(features, values=np.tile(features.mean, (ITEMS, 1)))
    found, ids = score(EaseContent(), data, same), Ease().fit(FitRequest(data)).scorer
    np.testing.assert_array_equal(found[:, :WARM], ids.score(["x"] * 2, HISTORIES)[:, :WARM])
    assert (found[:, WARM:] == 0).all()


@pytest.mark.parametrize("model", [Ridge(), EaseContent()])
def test_another_fusion_or_no_features_are_refused(model, data, features):
    with pytest.raises(UserError, match="in one way: fusion 'gate'") as caught:
        model.fit(FitRequest(data, features, "gate"))
    assert f"--fusion {model.only_fusion}" in caught.value.remedy
    with pytest.raises(UserError, match="takes features of one vector an item and was given none"):
        model.fit(FitRequest(data, None, model.only_fusion))


@pytest.mark.parametrize("wrong", [Ridge(l2=0), Ridge(decay=0), EaseContent(content=0), EaseContent(l2=0)])
def test_options_without_sense_are_refused(wrong, data, features):
    with pytest.raises(UserError, match="expected a number"):
        score(wrong, data, features)
