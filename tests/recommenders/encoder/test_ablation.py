"""Ablation and permutation of the inputs of a trained encoder, gate values, and weights of layers item by item."""

import numpy as np
import pytest
import torch

from protocols.errors import UserError
from protocols.features import ItemFeatures
from recommenders.encoder.ablation import ablated, gate_values, item_weights, parts
from recommenders.encoder.item_encoder import ItemEncoder

N_WARM, N_ITEMS, DIM = 12, 16, 6


def encoder(fusion, layers=0):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    given = None
    if fusion != "id":
        shape = (N_ITEMS, layers, 1, 5) if layers else (N_ITEMS, 5)
        values = rng.normal(2, 1, shape).astype(np.float16 if layers else np.float32)
        more = {"layer_scale": np.ones(layers, np.float32), "readouts": ("mean",)} if layers else {}
        mean = values[:N_WARM].astype(np.float32).mean(axis=0)
        given = ItemFeatures("toy", values, np.ones(N_ITEMS, dtype=bool), mean, 1.0, **more)
    made = ItemEncoder(N_WARM, N_ITEMS, DIM, fusion, given, 0.1).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def inputs(made):
    """Id vectors and content vectors of all items, as the fusion gets them."""
    cold = made.ids.mean(dim=0, keepdim=True).expand(N_ITEMS - N_WARM, -1)
    return torch.cat([made.ids, cold]).detach(), made.content(slice(0, N_ITEMS)).detach()


@pytest.mark.parametrize(("fusion", "there"), [("id", ["ids"]), ("replace", ["content"]), ("add", ["ids", "content"])])
def test_only_what_a_model_has_can_be_ablated(fusion, there):
    made = encoder(fusion)
    assert parts(made) == there
    for part in {"ids", "content"} - set(there):
        with pytest.raises(UserError, match=f"no {part} to ablate"), ablated(made, part, "zero"):
            pass


@torch.no_grad()
def test_zero_and_mean_are_what_they_say():
    made = encoder("add")
    e, v = inputs(made)
    with ablated(made, "content", "zero"):
        torch.testing.assert_close(made.weight[1:], e)
    with ablated(made, "ids", "zero"):
        torch.testing.assert_close(made.weight[1:], v)
    with ablated(made, "content", "mean"):
        torch.testing.assert_close(made.weight[1:], e + v[:N_WARM].mean(dim=0))


@torch.no_grad()
def test_shuffling_gives_every_item_anothers_vector_warm_among_warm_and_cold_among_cold():
    made = encoder("add")
    e, v = inputs(made)
    with ablated(made, "content", "shuffle", seed=3):
        got = made.weight[1:] - e
    for rows in (slice(0, N_WARM), slice(N_WARM, N_ITEMS)):
        distance = torch.cdist(got[rows], v[rows])
        source = distance.argmin(dim=1)
        assert distance.min(dim=1).values.max() < 1e-5
        assert sorted(source.tolist()) == list(range(len(source)))
        assert not (source == torch.arange(len(source))).any()
    with ablated(made, "content", "shuffle", seed=4):
        assert not torch.equal(made.weight[1:] - e, got)


@torch.no_grad()
@pytest.mark.parametrize(("fusion", "layers"), [("gate", 0), ("concat", 0), ("gate/moe", 3), ("gate/softmax", 3)])
def test_afterwards_the_model_is_as_it_was_also_where_its_table_was_held(fusion, layers):
    made = encoder(fusion, layers)
    before = made.weight.clone()
    made.hold_table()
    assert torch.equal(made.weight, before)
    with ablated(made, "content", "zero"):
        made.hold_table()
        assert not torch.equal(made.weight, before)
    assert torch.equal(made.weight, before)


@torch.no_grad()
def test_gate_values_are_the_gates_of_warm_and_cold_items():
    made = encoder("gate")
    made.hold_table()
    _ = made.weight  # a table that is held must not hide the gate
    e, v = inputs(made)
    expected = torch.sigmoid(made.fusion.gate(torch.cat([e, v], dim=1))).mean(dim=1)
    torch.testing.assert_close(gate_values(made), expected)
    assert gate_values(encoder("add")) is None


@torch.no_grad()
def test_the_late_gate_weighs_content_and_gate_values_are_what_is_left_for_ids():
    made = encoder("late-gate")
    torch.nn.init.normal_(made.fusion.gate.weight)
    e, v = inputs(made)
    z = torch.sigmoid(torch.cat([v, e], dim=1) @ made.fusion.gate.weight.T)
    torch.testing.assert_close(gate_values(made), (1 - z).mean(dim=1))
    torch.testing.assert_close(made.weight[1:], z * v + (1 - z) * e)


@torch.no_grad()
def test_weights_of_layers_item_by_item_are_those_the_content_is_made_with():
    made = encoder("replace/moe", layers=3)
    weights = item_weights(made)
    assert weights.shape == (N_ITEMS, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(N_ITEMS))
    assert weights.std(dim=0).min() > 0
    mixed = torch.einsum("nl,nld->nd", weights, made.content.compressed(slice(0, N_ITEMS)))
    torch.testing.assert_close(made.weight[1:], mixed)
    assert item_weights(encoder("replace/softmax", layers=3)) is None
    assert item_weights(encoder("gate/moe-user", layers=3)) is None
    assert item_weights(encoder("id")) is None
