"""Batches of pairs: every event once, with a negative."""

from dataclasses import replace

import numpy as np

from recommenders.data.pairs import PairBatches
from recommenders.training.negatives import release_order


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
