"""Losses against plain references."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recommenders.base import FitRequest
from recommenders.sasrec import SASRec
from recommenders.training import losses


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    hidden = torch.tensor(rng.normal(size=(6, 5)), dtype=torch.float32)
    table = torch.tensor(rng.normal(size=(8, 5)), dtype=torch.float32)
    out = torch.tensor([8, 5, 3, 8, 6, 2])
    target = torch.tensor([7, 2, 0, 2, 5, 1])
    return hidden, table, target, out


def log_softmax(x):
    return x - np.log(np.exp(x - x.max()).sum()) - x.max()


@pytest.mark.parametrize("corrected", [False, True])
def test_in_batch_softmax_is_that_of_a_loop(drawn, corrected):
    hidden, table, target, out = drawn
    sequence = np.array([0, 0, 1, 1, 2, 2])
    member = torch.zeros(3, 8, dtype=torch.bool)
    member[sequence, target] = True
    member[0, 5] = True  # read, never a target of this sequence
    popularity = torch.linspace(-3, -1, 8) if corrected else None
    found = losses.in_batch_softmax(hidden, table, target, out, torch.tensor(sequence), member, popularity)
    expected = []
    for i in range(6):
        columns = [i] + [
            j for j in range(6) if not member[sequence[i], target[j]] and target[j] < out[i] and target[j] != target[i]
        ]
        logits = [
            float(hidden[i] @ table[target[j]]) - (float(popularity[target[j]]) if corrected else 0) for j in columns
        ]
        expected.append(-log_softmax(np.array(logits))[0])
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("block", [1, 24, 10_000])
def test_in_batch_gradients_are_those_of_the_plain_formula_whatever_the_blocks(drawn, monkeypatch, block):
    monkeypatch.setattr(losses, "_BLOCK", block)
    hidden, table, target, out = drawn
    sequence, popularity = torch.tensor([0, 0, 1, 1, 2, 2]), torch.linspace(-3, -1, 8)
    member = torch.zeros(3, 8, dtype=torch.bool)
    member[sequence, target] = True
    gradients = []
    for plain in (False, True):
        given = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        if plain:  # every slot a column, the target's other slots and whatever else does not count at -inf
            logits = given[0] @ given[1][target].T - popularity[target]
            hidden_slots = member[sequence][:, target] | (target >= out[:, None])
            hidden_slots.fill_diagonal_(False)
            loss = F.cross_entropy(logits.masked_fill(hidden_slots, -torch.inf), torch.arange(6))
        else:
            loss = losses.in_batch_softmax(*given, target, out, sequence, member, popularity)
        (3 * loss).backward()
        gradients.append((loss.detach(), given[0].grad, given[1].grad))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_sampled_softmax_of_all_items_is_the_full_one(drawn, monkeypatch):
    hidden, table, target, out = drawn
    monkeypatch.setattr(torch, "rand", lambda count, device=None: (torch.arange(count) + 0.5) / count)
    found = losses.sampled_softmax(hidden, table, target, out, negatives=8)
    assert float(found) == pytest.approx(float(losses.full_softmax(hidden, table, target, out)), rel=1e-5)


def test_what_was_not_out_is_drawn_for_nobody(drawn):
    hidden, table, target, out = drawn
    table = table.clone().requires_grad_()
    losses.binary_cross_entropy(hidden, table, torch.zeros_like(target), torch.full_like(out, 2)).backward()
    assert (table.grad[2:] == 0).all() and (table.grad[0] != 0).all()
    table.grad = None
    losses.sampled_softmax(hidden, table, torch.zeros_like(target), torch.full_like(out, 2), 50).backward()
    assert (table.grad[2:] == 0).all() and (table.grad[1] != 0).any()


def test_binary_cross_entropy_of_one_pair():
    hidden, table = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    found = losses.binary_cross_entropy(hidden, table, torch.tensor([0]), torch.tensor([1]))
    expected = -np.log(1 / (1 + np.exp(-2))) - np.log(1 / (1 + np.exp(2)))  # only the target itself can be drawn
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sampled", "in-batch", "in-batch-plain", "bce"])
def test_every_loss_learns_the_planted_chain(loss, make_data, planted):
    sequences, follows = planted
    data = make_data(sequences)
    model = SASRec(dim=16, inner=16, batch=256, lr=0.01, weight_decay=0.01, loss=loss, loss_negatives=16)
    scorer = model.fit(FitRequest(data, seed=1, epochs=20)).scorer
    found = scorer.score(list(data.users[:60]), data.sequences[:60])
    wanted = follows[[s[-1] for s in data.sequences[:60]]]
    for row, history in zip(found, data.sequences, strict=False):
        row[history] = -np.inf  # in a batch an item of the same user is no negative: nothing is learned of seen ones
    unseen = np.array([w not in s for w, s in zip(wanted, data.sequences, strict=False)])
    assert unseen.sum() > 10
    assert (found.argmax(axis=1) == wanted)[unseen].mean() > 0.6


@pytest.mark.parametrize(("targets", "items"), [(1, 3), (700, 1000), (50, 40)])
def test_loss_and_gradients_equal_cross_entropy(targets, items):
    torch.manual_seed(0)
    hidden, table = torch.randn(targets, 8, dtype=torch.float64), torch.randn(items, 8, dtype=torch.float64)
    target = torch.randint(0, items, (targets,))
    results = []
    for loss in (losses.full_softmax, lambda h, w, t: F.cross_entropy(h @ w.T, t)):
        h, w = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        value = loss(h, w, target)
        (3 * value).backward()
        results.append((value, h.grad, w.grad))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("items", [5, 3000])  # one block, and blocks of one row's choice
def test_loss_over_released_items_equals_masked_cross_entropy(items):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(300, 8, dtype=torch.float64, generator=generator)
    table = torch.randn(items, 8, dtype=torch.float64, generator=generator)
    out = torch.randint(1, items + 1, (300,), generator=generator)
    target = (torch.rand(300, generator=generator) * out).long()

    def reference(h, w):
        return F.cross_entropy((h @ w.T).masked_fill(torch.arange(items) >= out[:, None], -torch.inf), target)

    results = []
    for loss in (lambda h, w: losses.full_softmax(h, w, target, out), reference):
        h, w = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        value = loss(h, w)
        (3 * value).backward()
        results.append((value, h.grad, w.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_loss_stays_finite_for_hopeless_targets_and_shows_nan():
    hidden, table = torch.tensor([[300.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = losses.full_softmax(hidden, table, torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss) and hidden.grad.item() == pytest.approx(2.0)
    assert torch.isnan(losses.full_softmax(torch.tensor([[float("nan")]]), table, torch.tensor([1])))
