"""Semantic ids: codes of residual k-means, constrained beam search, and generative retrieval that learns."""

import numpy as np
import pytest
import torch

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.data.semantic_codes import Trie, kmeans_clusters, semantic_codes
from recommenders.networks.rqvae import rqvae_clusters
from recommenders.semantic_ids import SemanticIds

WARM, COLD = 30, 4
SMALL = {
    "dim": 16,
    "inner": 16,
    "batch": 256,
    "lr": 0.01,
    "codes": 4,
    "levels": 2,
    "dropout": 0.1,
    "weight_decay": 0.01,
}


@pytest.fixture
def data(make_data, planted):
    return make_data(planted[0], n_cold=COLD)


@pytest.fixture
def features(make_features):
    return make_features(WARM + COLD, WARM)


def test_codes_are_the_planted_clusters_level_by_level():
    rng = np.random.default_rng(0)
    coarse, fine = np.repeat(np.arange(4), 9), np.tile(np.repeat(np.arange(3), 3), 4)
    vectors = 100 * np.eye(4)[coarse] @ rng.normal(size=(4, 6)) + np.eye(3)[fine] @ rng.normal(size=(3, 6))
    found = semantic_codes(kmeans_clusters(vectors.astype(np.float32), 36, levels=2, codes=4, seed=1), 36, codes=4)
    first = found.table[:, 0]
    assert all(len(set(first[coarse == k])) == 1 for k in range(4)) and len(set(first)) == 4
    pairs = {tuple(row) for row in found.table[:, :2]}
    assert len(pairs) == 12 and found.facts["collisions"] == 1.0 and found.facts["largest_group"] == 3
    assert len({tuple(row) for row in found.table}) == 36  # the last column tells collisions apart
    assert found.facts["codes_used"][0] == 1.0 and found.facts["perplexity"][0] == pytest.approx(4.0)


@pytest.mark.parametrize("quantise", [kmeans_clusters, rqvae_clusters])
def test_cold_items_change_no_code_and_collide_by_themselves(quantise):
    vectors = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    vectors[38:] = vectors[0]
    few, many = (semantic_codes(quantise(vectors[:n], 30, 3, 4, seed=2), 30, 4) for n in (30, 40))
    assert few.sizes == many.sizes and (few.table == many.table[:30]).all() and few.facts == many.facts
    assert (many.table[38] == many.table[39]).all() and (many.table[38, :3] == many.table[0, :3]).all()
    assert (many.table[38] != many.table[:30]).any(axis=1).all()
    assert (many.table.max(axis=0) < many.sizes).all()


def test_rqvae_collides_little_more_than_residual_kmeans_and_its_codes_do_not_collapse():
    """Public reproductions end with all items in one code."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(12, 24))[rng.integers(12, size=240)] * 2
    vectors = (kinds + rng.normal(size=(240, 24))).astype(np.float32)
    found = {
        quantise: semantic_codes(quantise(vectors, 240, 3, 16, 1), 240, 16).facts
        for quantise in (kmeans_clusters, rqvae_clusters)
    }
    theirs, facts = found[kmeans_clusters], found[rqvae_clusters]
    assert facts["collisions"] < theirs["collisions"] + 0.1 and facts["largest_group"] <= 8
    assert min(facts["codes_used"]) > 0.8 and min(facts["perplexity"]) > 0.6 * min(theirs["perplexity"])


def test_rqvae_is_an_option_and_the_default_enters_no_key(data, features):
    model = SemanticIds(**SMALL, quantizer="rqvae")
    request = FitRequest(data, features, "replace", 1, epochs=1)
    first, again = (model.fit(request) for _ in range(2))
    other = SemanticIds(**SMALL).fit(request)
    scores = [one.scorer.score(["x"], [np.array([3, 9])]) for one in (first, again, other)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any() and first.facts != other.facts
    assert model.options()["quantizer"] == "rqvae" and "quantizer" not in SemanticIds(**SMALL).options()


def log_probability(model, state, codes):
    """Sum over levels, code by code."""
    total = 0.0
    for level in range(len(codes)):
        out = model.decode(state[None], torch.tensor(codes[None, :level]))[0, -1]
        total += torch.log_softmax(model.item_embedding.levels[level] @ out, dim=0)[codes[level]].item()
    return total


def test_beam_search_gives_the_probabilities_of_items_and_no_others(data, features):
    model = SemanticIds(**SMALL).prepare(FitRequest(data, features, "replace", seed=1)).model.eval()
    table = model.item_embedding.codes.numpy()
    trie = Trie.of(table)
    with torch.no_grad():
        states = model.states(torch.tensor([[3, 9, 4], [7, 1, 2]]))[:, -1]
        exact = model.search(states, trie, beams=1000).numpy()
        expected = [[log_probability(model, state, codes) for codes in table] for state in states]
        np.testing.assert_allclose(exact, expected, rtol=1e-4)
        few = model.search(states, trie, beams=8).numpy()
    assert (np.isfinite(few).sum(axis=1) >= 8).all() and (few == -np.inf).any()
    np.testing.assert_allclose(few[np.isfinite(few)], exact[np.isfinite(few)], rtol=1e-5)


@pytest.mark.parametrize("retrieval", ["generative", "dense"])
def test_learns_what_follows_what_and_orders_cold_items_by_content(make_data, make_features, retrieval):
    """Kinds follow each other in a circle; the features tell the kind."""
    rng = np.random.default_rng(0)
    kind = np.arange(WARM + COLD) % 4
    sequences = []
    for user in range(120):
        kinds = (user + np.arange(8)) % 4
        sequences.append([int(rng.choice(np.flatnonzero(kind[:WARM] == k))) for k in kinds])
    data = make_data([*sequences, range(WARM)], n_warm=WARM, n_cold=COLD)
    values = np.eye(4, dtype=np.float32)[kind] * 5 + rng.normal(0, 0.1, (WARM + COLD, 4)).astype(np.float32)
    model = SemanticIds(**SMALL, retrieval=retrieval)
    result = model.fit(FitRequest(data, make_features(0, WARM, values=values), "replace", 1, epochs=15))
    last = [np.array([item]) for item in range(WARM)]
    found = result.scorer.score(["x"] * WARM, last)
    follows = (kind[:WARM] + 1) % 4
    assert (kind[found[:, :WARM].argmax(axis=1)] == follows).mean() > 0.9
    assert (kind[WARM:][found[:, WARM:].argmax(axis=1)] == follows).mean() > 0.9
    assert set(result.facts) == {"collisions", "largest_group", "codes_used", "perplexity"}


def test_the_dense_control_has_as_many_parameters(data, features):
    count = {
        how: SemanticIds(**SMALL, retrieval=how).fit(FitRequest(data, features, "replace", 1, epochs=1)).parameters
        for how in ("generative", "dense")
    }
    assert count["generative"] == count["dense"]


def test_features_that_are_all_the_same_are_refused(data, make_features):
    same = make_features(0, WARM, values=np.ones((WARM + COLD, 3), dtype=np.float32))
    with pytest.raises(UserError, match="all items have the same features"):
        SemanticIds(**SMALL).fit(FitRequest(data, same, "replace", 1, epochs=1))


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"beams": 5}, {"heads": 3}, {"freshness": "age"}])
def test_options_without_sense_are_refused(data, features, wrong):
    with pytest.raises(UserError, match="semantic-ids"):
        SemanticIds(**{**SMALL, **wrong}).fit(FitRequest(data, features, "replace", 1, epochs=1))
