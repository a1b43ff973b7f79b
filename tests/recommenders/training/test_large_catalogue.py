"""In a large catalogue a training step makes the vectors of the items it needs: the same loss and gradients."""

import pytest
import torch

from bench import registry
from recommenders.base import FitRequest
from recommenders.training import sequential_model

SMALL = {"dim": 16, "inner": 16, "dropout": 0.0}


def first_step(loss, data):
    model = registry.create("model", "sasrec", {"sasrec": {**SMALL, "loss": loss}})
    network, encoder, batches, *_ = model.prepare(FitRequest(data, seed=3))
    network.train()
    torch.manual_seed(0)
    with encoder.shared_table():
        found = network.calculate_loss(next(iter(batches(1))))
    found.backward()
    return encoder, found.item(), encoder.ids.grad


@pytest.mark.parametrize("loss", ["in-batch", "in-batch-plain", "sampled", "bce"])
def test_a_step_by_rows_is_a_step_by_the_whole_table(loss, make_data, planted, monkeypatch):
    data = make_data(planted[0])
    whole, value, gradient = first_step(loss, data)
    monkeypatch.setattr(sequential_model, "SOFTMAX_ITEMS", data.n_warm - 1)
    rows, by_rows, of_rows = first_step(loss, data)
    assert rows.by_rows and not whole.by_rows
    assert by_rows == pytest.approx(value, rel=1e-5)
    torch.testing.assert_close(of_rows, gradient)


def test_a_softmax_over_all_items_needs_the_whole_table(make_data, planted, monkeypatch):
    data = make_data(planted[0])
    monkeypatch.setattr(sequential_model, "SOFTMAX_ITEMS", data.n_warm - 1)
    assert not first_step("softmax", data)[0].by_rows
