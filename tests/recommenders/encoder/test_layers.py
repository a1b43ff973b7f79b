"""Content vectors from layers, against numpy: DFF's weights of layers, LinkedOut's experts and router."""

import numpy as np
import pytest
import torch

from bench import registry
from protocols.errors import UserError
from protocols.features import Features, FeatureSpace
from recommenders.base import FitRequest
from recommenders.encoder.item_encoder import ItemEncoder
from recommenders.encoder.projection import ContentOptions

N_WARM, N_ITEMS, L, R, D, DIM = 20, 24, 3, 4, 6, 5
READOUTS = ("visual", "last", "mean", "new")


def features(seed=0, readouts=READOUTS, values=None, n_items=N_ITEMS, n_warm=N_WARM):
    rng = np.random.default_rng(seed)
    size = np.array([1.0, 10.0, 0.1])[:, None, None]  # layers of very different sizes
    if values is None:
        values = (rng.normal(size=(n_items, L, len(readouts), D)) * size + 3 * size).astype(np.float16)
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": list(readouts)})
    ids, ok, nothing = [f"i{k:03d}" for k in range(n_items)], np.full(n_items, "ok"), np.full(n_items, "")
    made = Features(space, ids, values, ok, nothing, np.zeros(n_items), np.ones(L, np.float32))
    return made.align(ids, np.arange(n_items) < n_warm)


def encoder(fusion, given=None, **options):
    torch.manual_seed(0)
    given = given if given is not None else features()
    return ItemEncoder(N_WARM, N_ITEMS, DIM, fusion, given, 0.1, options=ContentOptions(**options)).eval()


def standardised(given):
    return (given.values.astype(np.float32) - given.mean) / given.layer_scale[:, None, None]


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("readout", ["", "visual"])
def test_softmax_is_dffs_layer_fusion(readout, activation):
    given = features()
    made = encoder(f"replace/softmax@{readout}" if readout else "replace/softmax", given, activation=activation)
    assert made.layer_weights() == pytest.approx([1 / 3] * 3)  # they start equal
    with torch.no_grad():
        made.content.weights.copy_(torch.tensor([0.5, -1.0, 2.0]))
        if activation == "relu":
            made.content.projection.bias.normal_()
    z = standardised(given)[:, :, READOUTS.index(readout or "mean")]
    alpha = softmax(np.array([0.5, -1.0, 2.0]))
    size = np.sqrt(np.square(z[:N_WARM].mean(axis=1)).mean())
    v = (alpha[:, None] * z).sum(axis=1) @ made.content.projection.weight.detach().numpy().T / (size * D**0.5)
    if activation == "relu":
        v = np.maximum(v + made.content.projection.bias.detach().numpy(), 0)
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), v, atol=1e-4)
    assert made.layer_weights() == pytest.approx(alpha.tolist(), rel=1e-5)


def test_whitening_makes_all_directions_of_the_mean_of_layers_weigh_the_same():
    rng = np.random.default_rng(0)
    stretch = np.array([30.0, 10, 3, 1, 0.3, 0.1])
    shared = rng.normal(size=(400, 1, 1, D)) * stretch
    values = (shared + rng.normal(size=(400, L, 2, D)) * 0.1).astype(np.float16)
    given = features(values=values, readouts=("visual", "mean"), n_items=400, n_warm=300)
    torch.manual_seed(0)
    made = ItemEncoder(300, 400, DIM, "replace/softmax", given, 0.1, options=ContentOptions(whiten=True)).eval()
    content = made.content
    mixed = (content._mixed(slice(0, 300)) @ content.transform).detach().numpy()
    covariance = mixed.T @ mixed / 300
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02
    assert np.diag(covariance).mean() == pytest.approx(1, rel=0.05)
    raw = content._mixed(slice(0, 300)).detach().numpy()
    assert np.diag(covariance).max() < 3 < 100 < raw.var(axis=0).max() / np.median(raw.var(axis=0))
    weight = content.projection.weight.detach().numpy()
    everywhere = (content._mixed(slice(0, 400)) @ content.transform).detach().numpy()
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), everywhere @ weight.T / D**0.5, atol=1e-4)


def test_uniform_weights_stay_equal_and_are_not_trained():
    made = encoder("gate/uniform").train()
    assert not made.content.weights.requires_grad
    assert encoder("gate/softmax").content.weights.requires_grad
    assert made.layer_weights() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("readouts", [READOUTS, ("visual", "mean")])
def test_moe_is_the_experts_and_the_router_as_written(readouts):
    given = features(readouts=readouts)
    made = encoder("replace/moe", given, temperature=0.5)
    with torch.no_grad():
        made.content.queries.normal_()
        made.content.norm.bias.normal_()
    content = {name: p.detach().numpy() for name, p in made.content.named_parameters()}
    z = standardised(given)
    groups = [[k for k, name in enumerate(readouts) if name.startswith("new") == new] for new in (False, True)]
    groups = [group for group in groups if group]
    c = np.zeros((N_ITEMS, L, DIM))
    for layer in range(L):
        pooled = []
        for query, group in zip(content["queries"][:, layer], groups, strict=True):
            tokens = z[:, layer, group]
            weight = softmax(tokens @ query / D**0.5)
            pooled.append((weight[..., None] * tokens).sum(axis=1))
        made_of = np.concatenate(pooled, axis=1) @ content["experts"][layer]
        normed = (made_of - made_of.mean(axis=1, keepdims=True)) / np.sqrt(made_of.var(axis=1, keepdims=True) + 1e-5)
        c[:, layer] = normed * content["norm.weight"] + content["norm.bias"]
    logits = c.reshape(N_ITEMS, -1) / (0.1 * L**0.5) @ content["router.weight"].T + content["router.bias"]
    w = softmax(logits / 0.5)
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), (w[..., None] * c).sum(axis=1), atol=1e-4)
    assert np.abs(w - w.mean(axis=0)).max() > 1e-3  # weights are the item's own
    found = made.content.routed(made.content.compressed(slice(0, N_ITEMS))).detach().numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, w, atol=1e-4)


@pytest.mark.parametrize("fusion", ["replace/moe-user", "gate/moe-user", "concat/moe-user"])
def test_layers_weighed_by_user_score_as_the_sum_over_layers(fusion):
    torch.manual_seed(0)
    made = ItemEncoder(N_WARM, N_ITEMS, 6, fusion, features(), 0.1, options=ContentOptions(temperature=0.7)).eval()
    users = torch.randn(9, 6)
    with torch.no_grad():
        vectors, table = made.scoring_vectors(users)
        plain = made.weight
        assert plain.shape == (1 + N_ITEMS, 6) and not plain[0].any() and not table[0].any()
        # equal weights at first: the score is that of the mean over layers
        np.testing.assert_allclose(vectors @ table.T, users @ plain.T, atol=1e-5)
        made.content.router.weight.normal_()
        made.content.router.bias.normal_()
        vectors, table = made.scoring_vectors(users)
        content = made.content.compressed(slice(0, N_ITEMS))
        ids = None
        if made.ids is not None:
            ids = torch.cat([made.ids, made.ids.mean(dim=0).expand(N_ITEMS - N_WARM, -1)])
        layers = [made.fusion(ids, content[:, layer]).numpy() for layer in range(L)]
        router = made.content.router
        w = softmax((users.numpy() @ router.weight.numpy().T + router.bias.numpy()) / 0.7)
    expected = sum(w[:, layer, None] * (users.numpy() @ layers[layer].T) for layer in range(L))
    np.testing.assert_allclose((vectors @ table.T)[:, 1:], expected, atol=1e-4)
    assert np.abs(w - w.mean(axis=0)).max() > 1e-2  # weights are the user's own
    np.testing.assert_allclose(made.content.layer_weights(), w.mean(axis=0), rtol=1e-4)


def test_only_models_with_a_vector_of_the_history_weigh_layers_by_user(make_data):
    request = FitRequest(make_data([[0, 1]] * 3, n_warm=N_WARM, n_cold=4), features(), "gate/moe-user", epochs=1)
    with pytest.raises(UserError, match="weighed by user"):
        registry.create("model", "bpr", {}).fit(request)


def test_gradients_reach_every_expert_and_the_router():
    made = encoder("gate/moe").train()
    (made.weight * torch.randn(1 + N_WARM, DIM)).sum().backward()
    assert (made.content.experts.grad.abs().sum(dim=(1, 2)) > 0).all()
    for parameter in made.parameters():
        assert parameter.grad is not None


def test_an_item_keeps_only_the_top_layers():
    made = encoder("gate/moe", top=1)
    found = made.content.routed(made.content.compressed(slice(0, N_ITEMS)))
    assert ((found == 1).sum(dim=1) == 1).all() and (found.sum(dim=1) == 1).all()
    named = encoder("gate/moe:1").content
    assert torch.equal(named.routed(named.compressed(slice(0, N_ITEMS))), found)
    with pytest.raises(UserError, match="layers_top=4: the features have 3 layers"):
        encoder("gate/moe:4")
    with pytest.raises(UserError, match="layers_top=4"):
        encoder("gate/moe", top=4)


def test_the_balance_term_is_zero_for_equal_weights_and_grows():
    made = encoder("gate/moe", balance=0.5)
    assert made.penalty() is None  # nothing was made yet
    with torch.no_grad():
        made.content.router.weight.zero_()
        _ = made.weight
        assert float(made.penalty()) == pytest.approx(0.0, abs=1e-6)
        made.content.router.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
        _ = made.weight
        assert float(made.penalty()) == pytest.approx(0.5 * (3 - 1), rel=1e-2)
    assert encoder("gate/moe").penalty() is None and encoder("gate/softmax", balance=0.5).penalty() is None


@pytest.mark.parametrize("fusion", ["replace/softmax", "replace/moe", "replace/uniform"])
def test_content_starts_as_large_as_an_id_vector_whatever_the_layers_sizes(fusion):
    torch.manual_seed(0)
    made = ItemEncoder(400, 400, 64, fusion, features(n_items=400, n_warm=400), 0.1).eval()
    assert made.weight[1:].std().item() == pytest.approx(0.1, rel=0.25)


def test_one_layer_is_a_vector():
    rng = np.random.default_rng(1)
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["visual", "last"]})
    values = rng.normal(size=(3, L, 2, D)).astype(np.float16)
    found = Features(space, ["a", "b", "c"], values, np.full(3, "ok"), np.full(3, ""), np.zeros(3), np.full(L, 2.0))
    one = found.layer(-1, "last")
    assert one.space.kind == "vector" and one.space.id != space.id
    np.testing.assert_array_equal(one.values, values[:, -1, 1].astype(np.float32) * 2)
    assert found.layer(1, "last").space.id != found.layer(2, "last").space.id
    with pytest.raises(UserError, match="no layer 3"):
        found.layer(3, "last")


def test_a_readout_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="did you mean 'visual'"):
        encoder("gate/softmax@visua")


@pytest.mark.parametrize(
    ("name", "fusion"),
    [("sasrec", "gate/softmax"), ("bpr", "gate/softmax"), ("bpr", "replace/moe"), ("sasrec", "replace/moe-user")],
)
def test_a_fit_learns_which_layer_tells(name, fusion, make_data):
    """Users take items of one group; only layer 1 knows the group."""
    rng = np.random.default_rng(0)
    warm, cold = 60, 8
    group = np.arange(warm + cold) % 4
    values = rng.normal(size=(warm + cold, L, 2, D)).astype(np.float16)
    values[:, 1, :, :4] += 6 * np.eye(4, dtype=np.float16)[group][:, None]
    sequences = [rng.permutation(np.flatnonzero(group[:warm] == user % 4))[:6] for user in range(80)]
    data = make_data([*sequences, np.arange(warm)], n_warm=warm, n_cold=cold)
    given = features(values=values, readouts=("visual", "mean"), n_items=warm + cold, n_warm=warm)
    options = {"dim": 16, "batch": 64, "lr": 0.02, "weight_decay": 0.0, "layers_balance": 0.01}
    model = registry.create("model", name, {name: options})
    result = model.fit(FitRequest(data, given, fusion, 1, epochs=15))
    assert len(result.layer_weights) == L and sum(result.layer_weights) == pytest.approx(1)
    assert int(np.argmax(result.layer_weights)) == 1
    scores = result.scorer.score(list(data.users[:8]), data.sequences[:8])
    best = scores[:, warm:].argmax(axis=1)  # cold items are told apart by content alone
    assert (group[warm:][best] == np.arange(8) % 4).mean() >= 0.75


@pytest.mark.parametrize("fusion", ["gate/softmax", "replace/uniform", "gate/moe", "gate/moe-user"])
def test_layers_too_large_for_a_table_give_the_same_vectors(fusion, monkeypatch):
    whole = encoder(fusion)
    monkeypatch.setattr("protocols.features.LARGE", 0)
    monkeypatch.setattr("recommenders.encoder.item_encoder.PIECE", 7)
    made = encoder(fusion)
    torch.testing.assert_close(made.weight, whole.weight, atol=1e-5, rtol=1e-4)
    ids = torch.tensor([3, 0, 20, 3])
    torch.testing.assert_close(made.train()(ids), whole.train()(ids), atol=1e-5, rtol=1e-4)
    made(ids).sum().backward()
    if fusion != "gate/moe-user":  # whose weights are those of users
        assert made.layer_weights() == pytest.approx(whole.layer_weights(), abs=1e-5)
