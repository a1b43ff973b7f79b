"""Batches of prefixes: histories with the item that followed."""

import numpy as np

from recommenders.data.pairs import PairBatches
from recommenders.data.prefixes import PrefixBatches
from recommenders.training.negatives import release_order


def test_prefixes_are_histories_with_what_followed(make_data, planted):
    data = make_data([[0, 1, 2, 3, 4], [5, 6], [7]], n_warm=8)
    pairs = PairBatches(data, *release_order(data, "warm"), 4, 1)
    batches = PrefixBatches(data, pairs.negatives, max_length=3, cap=2, batch=100, seed=1)
    assert batches.targets == 5
    seen, own = set(), 0
    for epoch in range(30):
        (batch,) = batches.epoch(epoch)
        assert np.bincount(batch.user - 1, minlength=3).tolist() == [2, 1, 0]  # at most `cap` a user
        for user, history, length, target, negative in zip(
            batch.user, batch.history, batch.length, batch.target, batch.negative, strict=True
        ):
            items = (data.sequences[user - 1] + 1).tolist()
            at = items.index(target)
            assert history[:length].tolist() == items[:at][-3:] and (history[length:] == 0).all()
            own += negative in items  # most of the catalogue is theirs, and draws are repeated a few times only
            seen.add((int(user), int(target)))
    assert own < 0.3 * 90
    assert seen == {(1, 2), (1, 3), (1, 4), (1, 5), (2, 7)}  # all of them in time
    first, again = ([b.target.tolist() for b in batches.epoch(3)] for _ in range(2))
    assert first == again
