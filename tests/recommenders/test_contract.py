"""The contract of a recommender, held by every registered one."""

import numpy as np
import pytest
import torch

from bench import registry
from recommenders.base import FitRequest, FitResult
from recommenders.encoder.fusions import FUSIONS
from recommenders.pop import PopScorer
from recommenders.training import checkpoint

ITEMS, COLD = 30, 4
#: Options that make a model small, where it has them.
SMALL = {"dim": 16, "batch": 256, "lr": 0.01, "inner": 16, "hidden": 24, "max_length": 10, "max_epochs": 4}
#: Names that take an argument.
SPECS = {"recbole": "recbole:BPR"}
NAMES = [SPECS.get(name, name) for name in registry.names("model")]
PLUGINS = {name: registry.load("model", name.partition(":")[0]) for name in NAMES}
TRAINED = [name for name, plugin in PLUGINS.items() if plugin.trains_epochs]
FUSED = [
    (name, fusion)
    for name in TRAINED
    for fusion in FUSIONS
    if (fusion == PLUGINS[name].only_fusion if PLUGINS[name].only_fusion else fusion != "id")
]
WITH_FEATURES = [name for name, plugin in PLUGINS.items() if plugin.uses_features]
#: `oracle` knows all items, `newest` all releases; RecBole's own models score others by the mean id vector, see
#: recbole/test_runner.py.
BY_ID = [
    name
    for name, plugin in PLUGINS.items()
    if not plugin.only_fusion and plugin.name not in ("oracle", "newest", "recbole")
]


@pytest.fixture
def data(make_data, planted):
    return make_data(planted[0], n_cold=COLD)


@pytest.fixture
def features(make_features):
    return make_features(ITEMS + COLD, ITEMS)


def fit(name, data, features=None, fusion="gate", seed=1, epochs=2, **more) -> FitResult:
    plain = name.partition(":")[0]
    options = {key: value for key, value in SMALL.items() if key in PLUGINS[name]().options()}
    model = registry.create("model", name, {plain: options})
    if not model.uses_features or features is None:
        fusion, features = "id", None
    elif model.only_fusion:
        fusion = model.only_fusion
    if model.trains_epochs:
        more["epochs"] = epochs
    oracle = lambda given: PopScorer(given.counts.astype(np.float32))  # noqa: E731
    return model.fit(FitRequest(data, features, fusion, seed, oracle=oracle, **more))


def scores(result, data):
    return result.scorer.score([*data.users[:8], "nobody"], [*data.sequences[:8], np.array([len(data.items) - 1, 2])])


@pytest.mark.parametrize("name", NAMES)
def test_two_fits_give_the_same_bits_and_leave_random_states_alone(name, data, features):
    found = []
    for _ in range(2):
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002
        states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        found.append(scores(fit(name, data, features), data))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert found[0].dtype == np.float32 and np.array_equal(found[0], found[1])
    if name in TRAINED:
        assert not np.array_equal(scores(fit(name, data, features, seed=2), data), found[0])


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_not_changed(name, data, features):
    arrays = [data.user, data.item, data.timestamp, data.release, *data.sequences]
    arrays += [features.values, features.mean, features.present]
    before = [array.tobytes() for array in arrays]
    scores(fit(name, data, features), data)
    assert [array.tobytes() for array in arrays] == before


@pytest.mark.parametrize("name", BY_ID)
def test_without_features_items_without_fitted_events_score_minus_infinity(name, data):
    found = scores(fit(name, data), data)
    assert found.shape == (9, ITEMS + COLD)
    assert np.isfinite(found[:, :ITEMS]).all() and (found[:, ITEMS:] == -np.inf).all()


@pytest.mark.parametrize(("name", "fusion"), FUSED)
def test_with_features_every_item_has_a_score(name, fusion, data, features, make_views):
    found = scores(fit(name, data, make_views(fusion, features), fusion, epochs=1), data)
    assert np.isfinite(found[:8]).all()


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_features_reach_the_scores(name, data, features):
    """Cold items take no part in training: swapped features swap their scores and change no bit of others."""
    before = scores(fit(name, data, features, "replace"), data)[:8]
    one, two = ITEMS, ITEMS + 2
    features.values[[one, two]] = features.values[[two, one]]
    swapped = scores(fit(name, data, features, "replace"), data)[:8]
    assert not np.allclose(before[:, one], before[:, two])
    np.testing.assert_allclose(swapped[:, [one, two]], before[:, [two, one]], rtol=1e-5)
    assert np.array_equal(swapped[:, :ITEMS], before[:, :ITEMS])


@pytest.mark.parametrize("name", TRAINED)
def test_cold_items_change_no_bit_of_warm_ones(name, make_data, make_features, planted):
    values = make_features(ITEMS + COLD, ITEMS).values
    few, many = (
        scores(fit(name, data, make_features(0, ITEMS, values=values[: len(data.items)])), data)[:8, :ITEMS]
        for data in (make_data(planted[0], n_cold=n_cold) for n_cold in (0, COLD))
    )
    assert np.array_equal(few, many)


class KilledError(Exception):
    """Ends a fit after an epoch."""


@pytest.mark.parametrize("name", TRAINED)
def test_an_interrupted_fit_resumes_to_the_same_bits(name, data, features, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    epochs = []

    def report(epoch, note):
        epochs.append(epoch)
        if epochs == [1]:
            raise KilledError

    with pytest.raises(KilledError):
        fit(name, data, features, checkpoint=tmp_path, report=report)
    assert list(tmp_path.iterdir())
    resumed = fit(name, data, features, checkpoint=tmp_path, report=report)
    assert epochs == [1, 2] and not list(tmp_path.iterdir())
    assert np.array_equal(scores(resumed, data), scores(fit(name, data, features), data))
