"""Batches of whole sequences, and the loss over all of their positions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recommenders.data.sequences import SequenceBatches, pad_histories
from recommenders.training.losses import full_softmax


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


@pytest.mark.parametrize(("targets", "items"), [(1, 3), (700, 1000), (50, 40)])
def test_loss_and_gradients_equal_cross_entropy(targets, items):
    torch.manual_seed(0)
    hidden, table = torch.randn(targets, 8, dtype=torch.float64), torch.randn(items, 8, dtype=torch.float64)
    target = torch.randint(0, items, (targets,))
    results = []
    for loss in (full_softmax, lambda h, w, t: F.cross_entropy(h @ w.T, t)):
        h, w = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        value = loss(h, w, target)
        (3 * value).backward()
        results.append((value, h.grad, w.grad))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("items", [5, 3000])  # one block, and blocks of one row's choice
def test_loss_over_what_was_out_equals_masked_cross_entropy(items):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(300, 8, dtype=torch.float64, generator=generator)
    table = torch.randn(items, 8, dtype=torch.float64, generator=generator)
    out = torch.randint(1, items + 1, (300,), generator=generator)
    target = (torch.rand(300, generator=generator) * out).long()

    def reference(h, w):
        return F.cross_entropy((h @ w.T).masked_fill(torch.arange(items) >= out[:, None], -torch.inf), target)

    results = []
    for loss in (lambda h, w: full_softmax(h, w, target, out), reference):
        h, w = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        value = loss(h, w)
        (3 * value).backward()
        results.append((value, h.grad, w.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_notes_stay_with_their_targets():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 200, n) for n in [1, 2, 3, 9, 15, 60]]
    batches = SequenceBatches(sequences, 7, 20, 3, [1000 + s for s in sequences])
    for batch in batches.epoch(1):
        real = batch.targets > 0
        assert (batch.notes[real] == batch.targets[real] + 999).all() and (batch.notes[~real] == 0).all()


def test_loss_stays_finite_for_hopeless_targets_and_shows_nan():
    hidden, table = torch.tensor([[300.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = full_softmax(hidden, table, torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss) and hidden.grad.item() == pytest.approx(2.0)
    assert torch.isnan(full_softmax(torch.tensor([[float("nan")]]), table, torch.tensor([1])))
