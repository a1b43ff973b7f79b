"""Cross-attention between two views against numpy, and its alignment loss in training and outside it."""

import numpy as np
import pytest
import torch

from protocols.concatenated import ConcatenatedItems
from protocols.errors import UserError
from protocols.features import ItemFeatures
from recommenders.base import FitRequest
from recommenders.encoder import cross_attention
from recommenders.encoder.cross_attention import TEMPERATURE, TOKENS, WEIGHT
from recommenders.encoder.item_encoder import ItemEncoder
from recommenders.sasrec import SASRec

N_WARM, N_ITEMS, DIM = 30, 36, 8
#: Items without a coarse view (warm), without a fine one (warm), and a cold one without either.
NO_COARSE, NO_FINE, NEITHER = 3, 11, 33


def two_views(how="scale", widths=(10, 6), gaps=True):
    """Two linear views of one hidden vector an item; a missing one stands at the mean of the warm items."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N_ITEMS, 4))
    parts, warm = [], np.arange(N_ITEMS) < N_WARM
    for number, width in enumerate(widths):
        values = (hidden @ rng.normal(size=(4, width)) * 3 + number).astype(np.float32)
        present = np.ones(N_ITEMS, dtype=bool)
        present[[NO_COARSE, NEITHER] if number == 0 else [NO_FINE, NEITHER]] = not gaps
        mean = values[present & warm].mean(axis=0)
        values[~present] = mean
        scale = float(np.sqrt(values[present & warm].var(axis=0).mean()))
        parts.append(ItemFeatures(f"v{number}", values, present, mean, scale))
    return ConcatenatedItems.of(parts, "concat").standardised(how, warm)


def encoder(features, **more):
    torch.manual_seed(0)
    return ItemEncoder(N_WARM, N_ITEMS, DIM, "cross-attention", features, 0.1, **more)


def projected(made, features):
    """Coarse and fine view of all items, in numpy."""
    views = zip(features.parts, (made.content.coarse, made.content.fine), strict=True)
    weights = [(part.vectors(), view.projection.weight.detach().numpy()) for part, view in views]
    return [z @ weight.T / z.shape[1] ** 0.5 for z, weight in weights]


@pytest.mark.parametrize("how", ["scale", "z-score", "whiten"])
def test_item_vectors_are_those_of_numpy(how):
    features = two_views(how)
    made = encoder(features).eval()
    expected = []
    for coarse, fine in zip(*projected(made, features), strict=True):
        q, f = coarse.reshape(TOKENS, -1), fine.reshape(TOKENS, -1)
        unit_q, unit_f = (t / np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-12) for t in (q, f))
        scores = np.exp(unit_q @ unit_f.T * np.sqrt(DIM / TOKENS))
        attention = scores / scores.sum(axis=1, keepdims=True)
        expected.append(((q + attention @ f) / np.sqrt(2)).reshape(-1))
    np.testing.assert_allclose(made.weight[1:].detach().numpy(), np.stack(expected), atol=1e-4)
    assert made.weight[0].abs().sum() == 0 and made.ids is None
    assert made.weight[1 + NEITHER].abs().max() < 1e-6


def test_the_loss_is_infonce_of_warm_items_with_both_views():
    features = two_views()
    made = encoder(features)
    both = [at for at in range(N_WARM) if at not in (NO_COARSE, NO_FINE)]
    assert made.content.pairs.tolist() == both
    q, f = (v[both] / np.linalg.norm(v[both], axis=1, keepdims=True) for v in projected(made, features))
    logits = q @ f.T / TEMPERATURE
    own = np.diag(logits)
    there, back = (np.log(np.exp(logits).sum(axis=axis)) - own for axis in (1, 0))
    expected = (there.mean() + back.mean()) / 2
    assert made.penalty().item() == pytest.approx(WEIGHT * expected, rel=1e-4)


def test_it_is_off_at_evaluation_and_draws_nothing_there():
    made = encoder(two_views())
    state = torch.get_rng_state()
    made.eval()
    assert made.penalty() is None
    _ = made.weight
    assert torch.equal(torch.get_rng_state(), state)
    made.train()
    assert made.penalty() is not None and not torch.equal(torch.get_rng_state(), state)


def test_a_step_aligns_a_limited_number_of_items(monkeypatch):
    monkeypatch.setattr(cross_attention, "ALIGNED", 5)
    made = encoder(two_views())
    seen = []
    monkeypatch.setattr(made.content, "alignment", lambda rows: seen.append(rows) or torch.tensor(1.0))
    for _ in range(2):
        assert made.penalty().item() == pytest.approx(WEIGHT)
    assert [len(set(rows.tolist())) for rows in seen] == [5, 5] and not torch.equal(*seen)


def test_gradients_reach_both_projections_of_both_losses():
    made = encoder(two_views())
    for loss in (lambda: made.weight.square().sum(), made.penalty):
        made.zero_grad()
        loss().backward()
        for view in (made.content.coarse, made.content.fine):
            gradient = view.projection.weight.grad
            assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
    assert len(list(made.parameters())) == 2


def test_what_is_coarse_decides_where_attention_goes():
    made = encoder(two_views()).eval()
    q, f = (view.unflatten(1, (TOKENS, -1)) for view in made.content.views(slice(0, N_ITEMS)))
    attention = made.content.attention(q, f)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(N_ITEMS, TOKENS))
    assert not torch.allclose(attention[:N_WARM], made.content.attention(q.roll(1, 0), f)[:N_WARM], atol=0.05)


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_training_aligns_the_views_and_without_the_loss_it_does_not(activation, make_data, planted, monkeypatch):
    data = make_data(planted[0], n_warm=N_WARM, n_cold=N_ITEMS - N_WARM)
    features = two_views("whiten", gaps=False)
    model = SASRec(dim=16, heads=1, layers=1, inner=16, max_length=10, dropout=0.0, activation=activation)
    rows = torch.arange(N_WARM)

    def after(epochs):
        found = model.fit(FitRequest(data, features, "cross-attention", seed=1, epochs=epochs)).encoder
        found.eval()
        with torch.no_grad():
            return found.content.alignment(rows).item()

    few, many = after(1), after(12)
    assert many < 0.6 * few
    monkeypatch.setattr(cross_attention, "WEIGHT", 0.0)
    assert after(12) > 2 * many


def test_rows_of_large_features_are_those_of_the_table(monkeypatch):
    whole = encoder(two_views("whiten"))
    monkeypatch.setattr("protocols.features.LARGE", 0)
    made = encoder(two_views("whiten"))
    assert made.by_rows and not whole.by_rows
    ids = torch.tensor([[0, 3, 3], [N_WARM, 1, 0]])
    torch.testing.assert_close(made(ids), whole(ids))
    torch.testing.assert_close(made.eval().weight, whole.eval().weight)


def test_views_that_are_not_two_and_widths_that_cannot_be_cut_are_refused(make_features):
    with pytest.raises(UserError, match="takes two views of an item, and test-space holds 1") as caught:
        encoder(make_features(N_ITEMS, N_WARM))
    assert "concat:captions+titles" in caught.value.remedy
    with pytest.raises(UserError, match="holds 3"):
        encoder(two_views(widths=(4, 4, 4)))
    with pytest.raises(UserError, match="no multiple"):
        ItemEncoder(N_WARM, N_ITEMS, 6, "cross-attention", two_views(), 0.1)
