"""Batches of whole sequences."""

from itertools import pairwise

import numpy as np
import pytest

from recommenders.data.sequences import SequenceBatches, pad_histories


def pairs(batches, number):
    """All (input, target) pairs of an epoch."""
    found = []
    for batch in batches.epoch(number):
        real = batch.targets > 0
        assert (real == (batch.inputs > 0)).all() and (real.sum(axis=1) == batch.length).all()
        assert real[:, 0].all() and batch.inputs.shape[1] == batch.length.max()
        found += zip(batch.inputs[real].tolist(), batch.targets[real].tolist(), strict=True)
    return found


@pytest.mark.parametrize("max_length", [1, 3, 7, 50])
def test_every_target_occurs_once_an_epoch(max_length):
    rng = np.random.default_rng(0)
    sequences = [rng.permutation(200)[:n] for n in [0, 1, 2, 3, 4, 7, 8, 9, 15, 22, 60]]
    expected = sorted((a + 1, b + 1) for s in sequences for a, b in pairwise(s.tolist()))
    batches = SequenceBatches(sequences, max_length, tokens=20, seed=3)
    assert batches.targets == len(expected)
    for number in (1, 2):
        assert sorted(pairs(batches, number)) == expected


def test_rows_are_short_enough_and_consecutive():
    sequence = np.arange(23)
    starts = set()
    batches = SequenceBatches([sequence], max_length=5, tokens=100, seed=0)
    for number in range(40):
        for batch in batches.epoch(number):
            assert batch.inputs.shape[1] <= 5
            for inputs, targets, n in zip(batch.inputs, batch.targets, batch.length, strict=True):
                assert (np.diff(inputs[:n]) == 1).all() and (targets[:n] == inputs[:n] + 1).all()
                starts.add(int(inputs[0]))
    assert len(starts) > 15  # the shift moves the cuts, so contexts of all lengths occur


def test_an_epoch_is_a_function_of_seed_and_number():
    sequences = [np.arange(n) for n in range(2, 40)]
    again = [SequenceBatches(sequences, 6, 64, seed).epoch(n) for seed, n in [(1, 5), (1, 5), (1, 6), (2, 5)]]
    first, same, other_epoch, other_seed = ([b.inputs.tolist() for b in batches] for batches in again)
    assert first == same and first != other_epoch and first != other_seed


def test_little_is_padded():
    lengths = np.random.default_rng(0).integers(2, 60, 500)
    batches = list(SequenceBatches([np.arange(n) for n in lengths], 50, 512, 0).epoch(1))
    slots = sum(b.inputs.size for b in batches)
    assert slots < 1.1 * sum(int(b.length.sum()) for b in batches)
    assert max(b.inputs.size for b in batches) <= 512


def test_histories_keep_their_newest_items():
    ids, length = pad_histories([np.array([4, 5, 6]), np.array([], dtype=np.int64), np.arange(10)], 4)
    assert ids.tolist() == [[5, 6, 7, 0], [0, 0, 0, 0], [7, 8, 9, 10]] and length.tolist() == [3, 1, 4]
    assert pad_histories([np.array([], dtype=np.int64)], 4)[0].shape == (1, 1)


def test_notes_stay_with_their_targets():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 200, n) for n in [1, 2, 3, 9, 15, 60]]
    batches = SequenceBatches(sequences, 7, 20, 3, [1000 + s for s in sequences])
    for batch in batches.epoch(1):
        real = batch.targets > 0
        assert (batch.notes[real] == batch.targets[real] + 999).all() and (batch.notes[~real] == 0).all()
