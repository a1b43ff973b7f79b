"""ItemKNN against a loop, recent popularity against a sum, pairs against their definition."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.data.pairs import PairBatches
from recommenders.itemknn import ItemKNN
from recommenders.pop import DAY_MS, RecentPop
from recommenders.training.negatives import release_order


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


def test_recent_popularity_halves_with_every_half_life(make_data):
    data = make_data([[0, 1], [0, 2]], n_cold=1)
    times = np.array([0, 7, 0, 14]) * DAY_MS
    found = RecentPop(half_life=7).fit(FitRequest(replace(data, timestamp=times))).scorer.score(["a"], [np.array([0])])
    np.testing.assert_allclose(found[0], [0.25 + 0.25, 0.5, 1.0, -np.inf])


@pytest.mark.parametrize("wrong", [ItemKNN(neighbours=0), ItemKNN(shrink=-1), ItemKNN(decay=0), RecentPop(half_life=0)])
def test_options_without_sense_are_refused(wrong, make_data, planted):
    with pytest.raises(UserError, match="expected a number"):
        wrong.fit(FitRequest(make_data(planted[0])))


def test_pairs_hold_every_event_once_and_negatives_nobody_took(make_data, planted):
    data = make_data(planted[0])
    release = np.arange(len(data.items), dtype=np.int64) // 10  # a third is out at 0, at 1 and at 2
    data = replace(data, release=release, timestamp=np.maximum(data.timestamp, release[data.item]))
    order, out = release_order(data, "released")
    batches = PairBatches(data, order, out, batch=100, seed=1)
    taken = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    when = {}
    for user, item, time in zip(data.user, data.item, data.timestamp, strict=True):
        when.setdefault((int(user), int(item)), []).append(int(time))
    seen, hits = [], 0
    for batch in batches.epoch(1):
        for user, item, negative in zip(batch.user - 1, batch.item - 1, batch.negative - 1, strict=True):
            seen.append((int(user), int(item)))
            hits += (int(user), int(negative)) in taken
            assert release[negative] <= max(when[int(user), int(item)])
    assert sorted(seen) == sorted(zip(data.user.tolist(), data.item.tolist(), strict=True))
    assert hits < 0.02 * len(seen)
    first, again, other = ([b.negative.tolist() for b in batches.epoch(n)] for n in (1, 1, 2))
    assert first == again != other
