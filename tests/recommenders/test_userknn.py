"""User-based kNN against its definition, user by user."""

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.userknn import UserKNN


def written_out(data, user, history, neighbours, shrink, decay):
    weights, rows = np.zeros(data.n_warm), np.zeros((len(data.users), data.n_warm))
    rows[data.user, data.item] = 1
    for age, item in enumerate(history[::-1]):
        if item < data.n_warm and not weights[item]:
            weights[item] = decay**age
    found = np.zeros(len(rows))
    for at, row in enumerate(rows):
        if data.users[at] != user:
            found[at] = weights @ row / (np.linalg.norm(weights) * np.linalg.norm(row) + shrink)
    least = np.sort(found)[-min(neighbours, len(found))]
    return sum(similarity * row for similarity, row in zip(found, rows, strict=True) if similarity >= least)


@pytest.mark.parametrize(("neighbours", "shrink", "decay"), [(3, 0.0, 1.0), (20, 4.0, 0.7), (1000, 1.0, 0.9)])
def test_scores_are_those_of_the_nearest_users(make_data, planted, neighbours, shrink, decay):
    data = make_data(planted[0][:50], n_warm=30, n_cold=2)
    model = UserKNN(neighbours=neighbours, shrink=shrink, decay=decay)
    users, histories = [data.users[0], "nobody"], [data.sequences[0], np.array([5, 31, 9])]
    found = model.fit(FitRequest(data)).scorer.score(users, histories)
    for row, user, history in zip(found, users, histories, strict=True):
        expected = written_out(data, user, history, neighbours, shrink, decay)
        np.testing.assert_allclose(row[:30], expected, rtol=1e-5, atol=1e-6)
    assert (found[:, 30:] == -np.inf).all()


def test_a_history_without_warm_items_has_no_neighbours(make_data):
    data = make_data([[0, 1], [1, 2]], n_cold=1)
    found = UserKNN(shrink=0).fit(FitRequest(data)).scorer.score(["a"], [np.array([3])])
    assert found.tolist() == [[0, 0, 0, -np.inf]]


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"shrink": -1}, {"decay": 0}])
def test_options_without_sense_are_refused(make_data, wrong):
    with pytest.raises(UserError, match="expected a number"):
        UserKNN(**wrong).fit(FitRequest(make_data([[0, 1]])))
