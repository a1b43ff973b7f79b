"""The training-free recommender against numpy, and what it says of items without features or without events."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.content_mean import ContentMean
from recommenders.encoder.fusions import Fusion, check_model

N_WARM, N_COLD = 30, 4
MISSING = (5, N_WARM + 1)


@pytest.fixture
def data(make_data, planted):
    return make_data(planted[0], n_warm=N_WARM, n_cold=N_COLD)


@pytest.fixture
def features(make_features):
    made = make_features(N_WARM + N_COLD, N_WARM)
    made.present[list(MISSING)] = False
    return made


def reference(z, present, history, user, decay, similarity):
    """Scores of one history, by loops over its items."""
    known = [(age, at) for age, at in enumerate(history[::-1]) if present[at]]
    if user == "last":
        known = known[:1]
    weights = [decay**age if user == "decay" else 1.0 for age, _ in known]
    mean = sum((w * z[at] for w, (_, at) in zip(weights, known, strict=True)), np.zeros(z.shape[1]))
    mean = mean / (sum(weights) or 1.0)
    if similarity == "dot":
        return np.where(present, z @ mean, -np.inf)
    length = np.linalg.norm(z, axis=1) * (np.linalg.norm(mean) or 1.0)
    return np.where(present, z @ mean / length, -np.inf)


@pytest.mark.parametrize("user", ["mean", "decay", "last"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_scores_are_those_of_a_loop(user, similarity, data, features):
    histories = [
        np.array([3, 3, 8, 1]),
        np.array([7, 2, 5]),  # the newest item has no feature
        np.array([N_WARM, 0, N_WARM + 1]),  # cold items stand in histories too
        np.array([5]),
        np.array([], dtype=np.int64),
    ]
    model = ContentMean(user=user, decay=0.7, similarity=similarity)
    found = model.fit(FitRequest(data, features, "replace")).scorer.score(list("abcde"), histories)
    z = ((features.values - features.mean) / features.scale).astype(np.float64)
    expected = np.stack([reference(z, features.present, h, user, 0.7, similarity) for h in histories])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    cold = np.setdiff1d(np.arange(N_WARM, N_WARM + N_COLD), MISSING)
    assert np.isfinite(found[:, cold]).all() and (found[:3, cold] != 0).all()
    assert (found[:, list(MISSING)] == -np.inf).all()


@pytest.mark.parametrize("how", ["scale", "whiten", "z-score", "l2", "none"])
def test_vectors_are_standardised_as_the_item_encoder_does_it(how, features):
    from recommenders.encoder.item_encoder import ItemEncoder

    given = features.standardised(how, np.arange(N_WARM + N_COLD) < N_WARM)
    encoder = ItemEncoder(N_WARM, N_WARM + N_COLD, 6, "replace", given, 0.1).eval()
    weight = encoder.content.projection.weight.detach().numpy()
    expected = encoder.weight[1:].detach().numpy()
    np.testing.assert_allclose(given.vectors() @ weight.T / weight.shape[1] ** 0.5, expected, rtol=1e-3, atol=1e-5)


def test_it_finds_what_is_like_the_history_and_a_constant_says_nothing(data, features):
    theme = np.arange(N_WARM + N_COLD) % 3
    values = np.eye(12, dtype=np.float32)[theme] + 0.02 * features.values
    themed = replace(features, values=values, mean=values[:N_WARM].mean(axis=0), scale=1.0)
    history = [np.flatnonzero(theme == 1)[:4]]
    scores = ContentMean().fit(FitRequest(data, themed, "replace")).scorer.score(["a"], history)[0]
    alike = features.present & (theme == 1)
    assert scores[alike].min() > scores[features.present & ~alike].max()
    same = ContentMean().fit(FitRequest(data, themed.constant(), "replace")).scorer.score(["a"], history)[0]
    np.testing.assert_allclose(same[features.present], 1.0, atol=1e-6)


@pytest.mark.parametrize("fusion", ["id", "add", "gate", "concat", "late-gate", "replace/softmax", "replace/moe"])
def test_another_fusion_is_refused(fusion, data, features):
    with pytest.raises(UserError, match="one vector of features an item, in one way") as caught:
        ContentMean().fit(FitRequest(data, features, fusion))
    assert f"{fusion!r}" in str(caught.value) and "--fusion replace" in caught.value.remedy
    for single in ("replace/last", "replace/12@visual"):
        check_model(Fusion.parse(single), ContentMean())


def test_features_that_are_no_vectors_and_options_without_sense_are_refused(data, features, make_features):
    with pytest.raises(UserError, match="was given none"):
        ContentMean().fit(FitRequest(data, None, "replace"))
    layers = make_features(N_WARM, N_WARM, values=np.ones((N_WARM, 2, 1, 3), np.float16))
    with pytest.raises(UserError, match="of shape"):
        ContentMean().fit(FitRequest(data, layers, "replace"))
    with pytest.raises(UserError, match=r"content-mean\.decay=0: expected a number"):
        ContentMean(decay=0).fit(FitRequest(data, features, "replace"))
