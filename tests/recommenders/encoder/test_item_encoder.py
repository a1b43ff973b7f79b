"""The item encoder against its equations in numpy."""

import numpy as np
import pytest
import torch

from protocols.errors import BenchError, UserError
from recommenders.encoder.fusions import FUSIONS
from recommenders.encoder.item_encoder import ItemEncoder
from recommenders.encoder.projection import ContentOptions

N_WARM, N_ITEMS, DIM = 7, 11, 4
#: `cross-attention` takes two views and has tests of its own.
ONE_VIEW = [fusion for fusion in FUSIONS if fusion != "cross-attention"]


def encoder(fusion, features, seed=0, **more):
    torch.manual_seed(seed)
    options = {"n_warm": N_WARM, "n_items": N_ITEMS, "dim": DIM, "init_std": 0.1, **more}
    made = ItemEncoder(fusion=fusion, features=features if fusion != "id" else None, **options)
    for parameter in made.fusion.parameters():  # away from the neutral start, so that the equation is seen
        torch.nn.init.normal_(parameter)
    if FUSIONS[fusion].from_ids:
        torch.nn.init.normal_(made.content.projection.weight, std=options["init_std"])
    return made


def reference(made, fusion, features):
    """x of all items, in numpy."""
    ids = made.ids.detach().numpy() if made.ids is not None else np.zeros((N_WARM, DIM))
    e = np.concatenate([ids, np.tile(ids.mean(axis=0), (N_ITEMS - N_WARM, 1))])
    if fusion == "id":
        return e
    p = made.content.projection.weight.detach().numpy()
    v = (features.values - features.mean) / features.scale @ p.T / features.values.shape[1] ** 0.5
    if fusion == "gate":
        w, b = made.fusion.gate.weight.detach().numpy(), made.fusion.gate.bias.detach().numpy()
        g = 1 / (1 + np.exp(-(np.concatenate([e, v], axis=1) @ w.T + b)))
        return g * e + (1 - g) * v
    if fusion == "late-gate":
        z = 1 / (1 + np.exp(-np.concatenate([v, e], axis=1) @ made.fusion.gate.weight.detach().numpy().T))
        return z * v + (1 - z) * e
    if fusion == "self-gate":
        f = v @ made.fusion.gate.weight.detach().numpy().T
        return e + f / (1 + np.exp(-f))
    if fusion == "concat":
        return np.concatenate([e, v], axis=1)
    return {"replace": v, "add": e + v}[fusion]


@pytest.mark.parametrize("fusion", ONE_VIEW)
def test_equations(fusion, make_features):
    features = make_features(N_ITEMS, N_WARM)
    made = encoder(fusion, features).eval()
    expected = reference(made, fusion, features)
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), expected, atol=1e-5)
    assert made.weight[0].abs().sum() == 0
    ids = torch.tensor([[0, 3], [11, 1]])
    assert torch.equal(made(ids), made.weight[ids])


@pytest.mark.parametrize("fusion", [name for name, kind in FUSIONS.items() if kind.from_ids])
def test_where_content_is_added_it_starts_at_zero_and_is_learned(fusion, make_features):
    features, parts = make_features(N_ITEMS, N_WARM), FUSIONS[fusion].parts
    made = ItemEncoder(N_WARM, N_ITEMS, DIM, fusion, features, init_std=0.1)
    warm = made.weight[1:]
    assert torch.equal(warm[:, : DIM // parts], made.ids) and warm[:, DIM // parts :].abs().sum() == 0
    warm.square().sum().add(warm.sum()).backward()
    assert made.content.projection.weight.grad.abs().sum() > 0
    cut = ItemEncoder(
        N_WARM, N_ITEMS, DIM, fusion, features, init_std=0.1, options=ContentOptions(activation="relu")
    )  # content that is cut off at zero would never leave it
    assert cut.content.projection.weight.abs().sum() > 0


@pytest.mark.parametrize("how", ["z-score", "l2", "none", "whiten"])
def test_however_features_are_standardised(how, make_features):
    warm = np.arange(N_ITEMS) < N_WARM
    features = make_features(N_ITEMS, N_WARM).standardised(how, warm)
    made = encoder("replace", features).eval()
    z = features.values - features.mean
    if how == "whiten":
        z = z @ features.transform
    elif how == "z-score":
        z = z / features.values[warm].std(axis=0)
    expected = z @ made.content.projection.weight.detach().numpy().T / z.shape[1] ** 0.5
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("fusion", ONE_VIEW)
def test_training_knows_warm_items_only(fusion, make_features):
    features = make_features(N_ITEMS, N_WARM)
    made = encoder(fusion, features)
    assert made.training and made.weight.shape == (1 + N_WARM, DIM)
    warm = made.weight.detach()
    assert torch.equal(made.eval().weight[: 1 + N_WARM].detach(), warm)
    made.train().weight.sum().backward()
    assert all(p.grad is not None for p in made.parameters())


@pytest.mark.parametrize("fusion", ["gate", "late-gate", "replace"])
def test_id_and_content_start_alike_in_size(fusion, make_features):
    features = make_features(3000, 3000, dim=48)
    made = ItemEncoder(3000, 3000, 32, fusion, features, init_std=0.1)
    content = made._encode(slice(0, 3000), torch.zeros(3000, 32)).detach()
    content = content * 2 if fusion != "replace" else content  # these start at one half
    assert content.std().item() == pytest.approx(0.1, rel=0.1)
    if made.ids is not None:
        assert made.ids.std().item() == pytest.approx(0.1, rel=0.1)


@torch.no_grad()
def test_gates_at_zero_input(make_features):
    features = make_features(N_ITEMS, N_WARM)
    ids, zero = torch.randn(N_WARM, DIM), torch.zeros(N_WARM, DIM)
    # CREMA: sigmoid(0) * 0 = 0, the id vector stays as it is, bit for bit
    assert torch.equal(encoder("self-gate", features).fusion(ids, zero), ids)
    # NoteLLM-2: without a bias the weight of two zero vectors is one half
    weight = encoder("late-gate", features).fusion.id_weight(zero, zero)
    assert torch.equal(weight, torch.full_like(weight, 0.5))


def test_initialisation_ignores_cold_items_and_features(make_features):
    few = encoder("gate", make_features(N_ITEMS, N_WARM))
    torch.manual_seed(0)
    many = ItemEncoder(N_WARM, 500, DIM, "gate", make_features(500, N_WARM, dim=40), 0.1)
    assert torch.equal(few.ids, many.ids)
    assert torch.equal(few.ids, encoder("id", None).ids)


def test_cold_items_get_the_mean_of_the_trained_ids(make_features):
    made = encoder("id", None)
    with torch.no_grad():
        made.ids.copy_(torch.arange(N_WARM * DIM).view(N_WARM, DIM))
    assert torch.equal(made.eval().weight[1 + N_WARM :], made.ids.mean(dim=0).expand(N_ITEMS - N_WARM, -1))


def test_features_are_no_parameters_and_stay_as_they_were(make_features):
    features = make_features(N_ITEMS, N_WARM)
    made = encoder("gate", features)
    assert not any("features" in name for name in [*made.state_dict(), *dict(made.named_parameters())])
    made.check_frozen(features)
    with torch.no_grad():
        made.content.features[2, 3] += 1e-3
    with pytest.raises(BenchError, match="changed the frozen features"):
        made.check_frozen(features)


def test_float16_features_are_kept_as_they_are(make_features):
    values = np.random.default_rng(0).normal(size=(N_ITEMS, 6)).astype(np.float16)
    features = make_features(N_ITEMS, N_WARM, values=values)
    made = encoder("replace", features).eval()
    assert made.content.features.dtype == torch.float16
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), reference(made, "replace", features), atol=1e-3)


def test_the_table_is_made_once_where_asked(make_features):
    made = encoder("gate", make_features(N_ITEMS, N_WARM))
    assert made.weight is not made.weight
    with made.shared_table():
        assert made.weight is made.weight
    assert made.weight is not made.weight
    made.eval().hold_table()
    held = made.weight
    assert made.weight is held
    assert made.train().weight is not held


def test_a_bug_inside_is_not_reported_as_a_missing_weight(make_features):
    made = encoder("gate", make_features(N_ITEMS, N_WARM))
    del made.content.mean
    with pytest.raises(RuntimeError, match="mean"):
        _ = made.weight


def test_bad_input(make_features):
    good = make_features(N_ITEMS, N_WARM)
    with pytest.raises(UserError, match="needs item features"):
        ItemEncoder(N_WARM, N_ITEMS, DIM, "gate", None, 0.1)
    with pytest.raises(UserError, match="did you mean 'gate'"):
        encoder("gates", good)
    with pytest.raises(BenchError, match="align"):
        ItemEncoder(N_WARM, N_ITEMS + 1, DIM, "gate", good, 0.1)
    with pytest.raises(UserError, match="one vector"):
        encoder("gate", make_features(N_ITEMS, N_WARM, values=np.ones((N_ITEMS, 2, 3, 4), np.float16)))
    broken = good.values.copy()
    broken[5, 0] = np.inf
    with pytest.raises(BenchError, match="item number 5"):
        encoder("gate", make_features(N_ITEMS, N_WARM, values=broken))
    good.present[:] = False
    with pytest.raises(UserError, match="no item has a feature"):
        encoder("gate", good)


def test_id_dropout_treats_warm_items_as_cold_in_training(make_features):
    features = make_features(N_ITEMS, N_WARM)
    made = encoder("add", features, id_dropout=0.5)
    content = encoder("add", features).weight - torch.nn.functional.pad(made.ids, (0, 0, 1, 0))
    draws = torch.stack([(made.weight - content)[1:] for _ in range(200)]).detach()
    mean, own = made.ids.mean(dim=0).detach(), made.ids.detach()
    dropped = torch.isclose(draws, mean, atol=1e-6).all(dim=2)
    assert torch.isclose(draws, own, atol=1e-6).all(dim=2).logical_xor(dropped).all()
    assert 0.4 < dropped.float().mean() < 0.6 and (dropped.any(dim=0) & ~dropped.all(dim=0)).all()
    assert torch.equal(made.eval().weight, encoder("add", features).eval().weight)
    assert encoder("id", None, id_dropout=0.5).id_dropout == 0


@pytest.mark.parametrize("fusion", [fusion for fusion in ONE_VIEW if fusion != "id"])
def test_rows_of_large_features_are_those_of_the_table(fusion, make_features, monkeypatch):
    features = make_features(N_ITEMS, N_WARM)
    whole = encoder(fusion, features)
    monkeypatch.setattr("protocols.features.LARGE", 0)
    monkeypatch.setattr("recommenders.encoder.item_encoder.PIECE", 3)
    made = encoder(fusion, features)
    assert made.by_rows and not whole.by_rows
    ids = torch.tensor([[0, 3, 3], [N_WARM, 1, 0]])
    torch.testing.assert_close(made(ids), whole(ids))
    for each in (made, whole):
        each.zero_grad()
        (each(ids) ** 2).sum().backward()
    for mine, other in zip(made.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    with pytest.raises(BenchError, match="too large"):
        _ = made.weight
    torch.testing.assert_close(made.eval().weight, whole.eval().weight)


def test_an_item_is_dropped_everywhere_in_a_step_or_nowhere(make_features, monkeypatch):
    monkeypatch.setattr("protocols.features.LARGE", 0)
    made = encoder("add", make_features(N_ITEMS, N_WARM), id_dropout=0.5)
    ids = torch.arange(1, N_WARM + 1)
    with made.shared_table():
        assert torch.equal(made(ids), made(ids))
    with made.shared_table():
        one = made(ids)
    with made.shared_table():
        assert not torch.equal(one, made(ids))
