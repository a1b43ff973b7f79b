"""Joined features: each part with its own gaps and statistics, controls over whole vectors."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from protocols.audit.feature_statistics import wrong_statistics
from protocols.concatenated import ConcatenatedFeatures, ConcatenatedItems
from protocols.errors import BenchError, UserError
from protocols.features import Features, FeatureSpace

IDS = [f"i{at}" for at in range(40)]
TRAINING = np.arange(40) < 30
WIDTHS = (5, 3)
#: Items that only the first part lacks, only the second, and both.
LACKING = {0: [2, 31], 1: [4, 33], 2: [6, 35]}


def part(seed, width, lacking, kind="vector", ids=IDS):
    rng = np.random.default_rng(seed)
    values = rng.normal(seed, 10.0**seed, (len(ids), width)).astype(np.float32)
    status, reason = np.full(len(ids), "ok", dtype=object), np.full(len(ids), "", dtype=object)
    status[lacking], reason[lacking], values[lacking] = "undecodable", "broken", 0
    space = FeatureSpace(f"p{seed}", 1, kind, {"seed": seed}, {"checkpoints": [f"c{seed}"], "note": "x"})
    return Features(space, ids, values, status, reason, np.full(len(ids), seed, np.float32))


@pytest.fixture
def parts():
    return [part(seed, WIDTHS[seed], LACKING[seed] + LACKING[2]) for seed in (0, 1)]


@pytest.fixture
def joined(parts):
    return ConcatenatedFeatures.of(parts, "concat", 1)


def test_an_item_is_missing_only_where_all_parts_are(joined, parts):
    assert joined.values.shape == (40, sum(WIDTHS)) and joined.values.dtype == np.float32
    assert np.flatnonzero(~joined.ok).tolist() == sorted(LACKING[2])
    assert joined.reason[2] == "no p0: broken" and joined.reason[6] == "no p0: broken; no p1: broken"
    assert joined.reason[0] == "" and joined.seconds[0] == 1
    assert np.shares_memory(joined.values, joined.parts[0].values)
    assert joined.space.config == {"parents": [one.space.id for one in parts]}
    assert joined.space.provenance == {"checkpoints": ["c0", "c1"]}


def test_the_digest_tells_a_gap_from_a_vector_of_zeros(joined, parts):
    assert joined.digest == ConcatenatedFeatures.of(parts, "concat", 1).digest
    zeros = replace(parts[0], status=np.where(np.arange(40) == 2, "ok", parts[0].status))
    assert np.array_equal(zeros.values, parts[0].values)
    assert ConcatenatedFeatures.of([zeros, parts[1]], "concat", 1).digest != joined.digest


@pytest.mark.parametrize("how", ["scale", "z-score", "whiten", "l2", "none"])
def test_each_part_is_standardised_as_it_is_alone_and_a_gap_is_its_mean(how, joined, parts):
    order = IDS[::-1]
    whole = joined.align(order, TRAINING[::-1]).standardised(how, TRAINING[::-1])
    alone = [one.align(order, TRAINING[::-1]).standardised(how, TRAINING[::-1]) for one in parts]
    expected = [one.vectors() for one in alone]
    found = whole.vectors()
    assert [own.width for own in whole.parts] == [v.shape[1] for v in expected]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-4)
    split = [slice(0, expected[0].shape[1]), slice(expected[0].shape[1], None)]
    at = {item: row for row, item in enumerate(order)}
    for number in (0, 1) if how in ("scale", "z-score", "whiten") else ():
        rows = [at[f"i{item}"] for item in LACKING[number]]
        np.testing.assert_allclose(found[rows][:, split[number]], 0, atol=1e-5)
        assert np.abs(found[rows][:, split[1 - number]]).min() > 0
    assert np.flatnonzero(~whole.present).tolist() == sorted(at[f"i{item}"] for item in LACKING[2])
    assert wrong_statistics(whole, TRAINING[::-1], np.array(order)) == ""


def test_the_audit_finds_statistics_of_items_that_were_not_fitted(joined):
    leaky = joined.align(IDS, np.ones(40, dtype=bool)).standardised("whiten", np.ones(40, dtype=bool))
    assert "p0" in wrong_statistics(leaky, TRAINING, np.array(IDS))


def test_parts_that_a_training_item_lacks_have_no_say_in_their_mean(joined, parts):
    aligned = joined.align(IDS, TRAINING)
    known = TRAINING & parts[1].ok
    np.testing.assert_allclose(aligned.mean[WIDTHS[0] :], parts[1].values[known].mean(axis=0), rtol=1e-5)
    assert np.shares_memory(aligned.values, aligned.parts[1].values)


def test_shuffled_moves_whole_vectors_with_their_gaps(joined):
    aligned = joined.align(IDS, TRAINING).standardised("whiten", TRAINING)
    wrong = aligned.shuffled(7)
    order = aligned.derangement(7)
    there = np.flatnonzero(aligned.present)
    assert (order[there] != there).all() and sorted(order) == list(range(40))
    assert np.array_equal(wrong.values, aligned.values[order])
    for own, before in zip(wrong.parts, aligned.parts, strict=True):
        assert np.array_equal(own.present, before.present[order])
        assert np.array_equal(own.values, before.values[order])
    assert np.array_equal(wrong.present, aligned.present) and wrong.space_id.startswith("shuffled:")
    assert isinstance(wrong, ConcatenatedItems) and wrong.columns == [slice(0, 5), slice(5, 8)]


@pytest.mark.parametrize("how", ["scale", "whiten", "z-score"])
def test_constant_is_one_in_every_dimension_that_is_left(how, joined):
    flat = joined.align(IDS, TRAINING).standardised(how, TRAINING).constant()
    np.testing.assert_allclose(flat.vectors(), 1, rtol=2e-3)
    assert (flat.parts[1].values == flat.parts[1].values[0]).all()


def test_they_reach_another_process(joined):
    again = pickle.loads(pickle.dumps(joined))
    assert again.digest == joined.digest
    assert np.array_equal(again.align(IDS, TRAINING).values, joined.align(IDS, TRAINING).values)


def test_what_cannot_be_joined_is_refused(parts):
    with pytest.raises(UserError, match=r"concatenates vectors, and p0-v1.* is of kind layers"):
        ConcatenatedFeatures.of([part(0, 4, [], kind="layers"), parts[1]], "concat", 1)
    with pytest.raises(BenchError, match="hold different items"):
        ConcatenatedFeatures.of([parts[0], part(1, 3, [], ids=IDS[::-1])], "concat", 1)
