"""Item-based kNN against a loop."""

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.itemknn import ItemKNN


def brute(data, neighbours, shrink, decay, history):
    users = [set(s) for s in data.sequences]
    count = [sum(i in u for u in users) for i in range(data.n_warm)]
    scores = np.zeros(data.n_warm)
    for age, i in enumerate(history[::-1]):
        if i >= data.n_warm:
            continue
        near = []
        for j in range(data.n_warm):
            common = sum(i in u and j in u for u in users) if j != i else 0
            near.append(common / (np.sqrt(count[i] * count[j]) + shrink))
        for j in sorted(range(data.n_warm), key=lambda j: (-near[j], j))[:neighbours]:
            scores[j] += decay**age * near[j]
    return scores


@pytest.mark.parametrize("neighbours", [3, 100])
def test_itemknn_is_that_of_a_loop(neighbours, make_data, planted):
    data = make_data(planted[0][:40], n_warm=30, n_cold=2)
    scorer = ItemKNN(neighbours=neighbours, shrink=2.0, decay=0.7).fit(FitRequest(data)).scorer
    histories = [data.sequences[0], np.array([31, 4, 5]), np.array([], dtype=np.int64)]
    found = scorer.score(["a", "b", "c"], histories)
    assert found.dtype == np.float32 and (found[:, 30:] == -np.inf).all()
    for row, history in enumerate(histories):
        np.testing.assert_allclose(found[row, :30], brute(data, neighbours, 2.0, 0.7, history), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("wrong", [ItemKNN(neighbours=0), ItemKNN(shrink=-1), ItemKNN(decay=0)])
def test_options_without_sense_are_refused(wrong, make_data, planted):
    with pytest.raises(UserError, match="expected a number"):
        wrong.fit(FitRequest(make_data(planted[0])))
