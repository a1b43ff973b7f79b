"""EASE and PureSVD against their equations written out, and the order of newest-first."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.ease import Ease
from recommenders.newest import Newest
from recommenders.puresvd import PureSVD

HISTORIES = [np.array([3, 5, 3]), np.array([31, 4]), np.array([], dtype=np.int64)]


@pytest.fixture
def data(make_data, planted):
    return make_data(planted[0][:40], n_warm=30, n_cold=2)


def users_by_items(data):
    matrix = np.zeros((len(data.users), data.n_warm))
    matrix[data.user, data.item] = 1
    return matrix


def history_rows(decay):
    """Newest first the first history is 3, 5, 3: item 3 counts once, as the newest."""
    rows = np.zeros((3, 30))
    rows[0, 3], rows[0, 5], rows[1, 4] = 1, decay, 1
    return rows


def score(model, data, histories=HISTORIES):
    found = model.fit(FitRequest(data)).scorer.score([str(at) for at in range(len(histories))], histories)
    assert found.dtype == np.float32
    return found


def ridge_without_itself(matrix, l2):
    """Regress every item on the others, one at a time: what EASE's closed form solves at once."""
    weights = np.zeros((matrix.shape[1],) * 2)
    for at in range(matrix.shape[1]):
        others = np.delete(np.arange(matrix.shape[1]), at)
        x = matrix[:, others]
        weights[others, at] = np.linalg.solve(x.T @ x + l2 * np.eye(len(others)), x.T @ matrix[:, at])
    return weights


@pytest.mark.parametrize(("l2", "decay"), [(0.5, 1.0), (20.0, 0.7)])
def test_ease_is_a_ridge_regression_of_each_item_on_the_others(data, l2, decay):
    found = score(Ease(l2=l2, decay=decay), data)
    np.testing.assert_allclose(
        found[:, :30], history_rows(decay) @ ridge_without_itself(users_by_items(data), l2), rtol=1e-4, atol=1e-6
    )
    assert (found[:, 30:] == -np.inf).all()


@pytest.mark.parametrize(("factors", "decay"), [(1, 1.0), (7, 0.7), (29, 1.0), (30, 1.0), (100, 1.0)])
def test_puresvd_projects_on_the_singular_vectors_of_numpy(data, factors, decay):
    found = score(PureSVD(factors=factors, decay=decay), data)
    basis = np.linalg.svd(users_by_items(data))[2][:factors]
    np.testing.assert_allclose(found[:, :30], history_rows(decay) @ basis.T @ basis, rtol=1e-4, atol=1e-6)
    assert (found[:, 30:] == -np.inf).all()


def test_too_many_items_for_ease_are_refused_with_their_number_and_bytes(data):
    with pytest.raises(UserError, match="30 items takes 7,200 bytes") as caught:
        Ease(max_items=29).fit(FitRequest(data))
    assert "puresvd" in caught.value.remedy


@pytest.mark.parametrize(
    "wrong", [Ease(l2=0), Ease(decay=0), Ease(max_items=0), PureSVD(factors=0), PureSVD(decay=1.1)]
)
def test_options_without_sense_are_refused(wrong, data):
    with pytest.raises(UserError, match="expected a number"):
        wrong.fit(FitRequest(data))


def test_newest_orders_releases_that_float32_cannot_tell_apart(data):
    release = 1_650_000_000_000 + np.arange(32) * 1000
    release[7] = release[9]
    found = score(Newest(), replace(data, release=release, border=int(release[30]), dated=True))
    assert (found == found[0]).all() and np.isfinite(found).all()
    assert np.argmax(found[0]) == 31 and found[0, 7] == found[0, 9]
    assert (np.diff(found[0, 10:]) > 0).all()


def test_newest_knows_nothing_of_cold_items_without_releases(data):
    release = np.append(np.arange(30), [10**12] * 2)
    found = score(Newest(), replace(data, release=release))[0]
    assert (np.diff(found[:30]) > 0).all() and (found[30:] == -np.inf).all()
