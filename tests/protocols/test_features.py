"""Aligning features to a fold: gaps, statistics and controls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from protocols import features
from protocols.audit.feature_statistics import wrong_statistics
from protocols.errors import UserError
from protocols.features import Features, FeatureSpace, copies, whitening


def make(values, status=None, ids=None):
    n = len(values)
    return Features(
        FeatureSpace("test", 1, "vector", {"dim": values.shape[1]}),
        ids or [f"i{i}" for i in range(n)],
        values.astype(np.float32),
        np.array(status or ["ok"] * n),
        np.array([""] * n),
        np.zeros(n, np.float32),
    )


def test_alignment_reorders_and_keeps_the_bytes():
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    aligned = make(values).align(["i3", "i0"], np.array([True, True]))
    assert aligned.values.tobytes() == values[[3, 0]].tobytes()
    assert aligned.coverage == 1.0


def test_gaps_get_the_mean_of_training_items_only():
    values = np.array([[1.0, 0], [3, 0], [100, 7], [0, 0]])
    features = make(values, ["ok", "ok", "ok", "undecodable"])
    aligned = features.align(["i0", "i1", "i2", "i3", "unknown"], np.array([True, True, False, False, False]))
    assert aligned.values[3].tolist() == [2.0, 0.0]
    assert aligned.values[4].tolist() == [2.0, 0.0]
    assert aligned.present.tolist() == [True, True, True, False, False]
    assert aligned.mean.tolist() == [2.0, 0.0]


def test_statistics_do_not_see_items_outside_training():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6, 4))
    training = np.array([True] * 4 + [False] * 2)
    one = make(values).align([f"i{i}" for i in range(6)], training)
    values[4:] = 1e6
    two = make(values).align([f"i{i}" for i in range(6)], training)
    assert np.array_equal(one.mean, two.mean)
    assert one.scale == two.scale


@given(st.integers(2, 30), st.integers(0, 5), st.integers(0, 1000))
def test_shuffling_moves_every_real_vector_and_loses_none(n, absent, seed):
    values = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    status = ["missing"] * min(absent, n - 2) + ["ok"] * (n - min(absent, n - 2))
    aligned = make(values, status).align([f"i{i}" for i in range(n)], np.ones(n, bool))
    shuffled = aligned.shuffled(seed)
    real = aligned.present
    assert (shuffled.values[real] != aligned.values[real]).any(axis=1).all()
    assert sorted(map(tuple, shuffled.values[real])) == sorted(map(tuple, aligned.values[real]))
    assert np.array_equal(shuffled.values[~real], aligned.values[~real])
    assert np.array_equal(shuffled.values, aligned.shuffled(seed).values)


def test_constant_control_gives_one_vector_that_is_not_zero_after_standardisation():
    values = np.random.default_rng(2).normal(size=(8, 3))
    aligned = make(values).align([f"i{i}" for i in range(8)], np.ones(8, bool)).constant()
    assert (aligned.values == aligned.values[0]).all()
    assert (aligned.values[0] - aligned.mean) / aligned.scale == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("n", "dim"), [(200, 5), (12, 40), (300, 300)])
def test_whitening_makes_all_directions_weigh_the_same(n, dim):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    values = rng.normal(size=(n, dim)) @ np.diag(10.0 ** -np.linspace(0, 0.7, dim)) @ turn + 7
    z = (values - values.mean(axis=0)) @ whitening(values)
    assert z.shape[1] == min(dim, n - 1, 256)
    covariance = z.T @ z / n
    assert np.diag(covariance).mean() == pytest.approx(1, abs=1e-4)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3
    if n > dim:
        plain = np.linalg.eigvalsh(np.cov(values.T))
        assert np.ptp(np.diag(covariance)) < 0.6 < np.ptp(plain / plain.mean())


def test_whitening_is_fitted_on_training_items_and_stays_with_controls():
    values = np.random.default_rng(1).normal(size=(9, 3))
    training = np.arange(9) < 6
    names = [f"i{i}" for i in range(9)]
    one = make(values).align(names, training).standardised("whiten", training)
    values[6:] *= 1e3
    two = make(values).align(names, training).standardised("whiten", training)
    assert np.array_equal(one.transform, two.transform) and np.array_equal(one.shuffled(1).transform, one.transform)
    constant = one.constant()
    assert (constant.values == constant.values[0]).all()
    assert (constant.values[0] - constant.mean) @ constant.transform == pytest.approx(1.0, abs=1e-3)
    assert not whitening(np.ones((4, 3))).any()  # equal vectors tell nothing, and divide nothing by zero


@st.composite
def pilots(draw):
    """Training items with copies and constant columns, then other items that lie outside of their span."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    distinct, dim, rank = draw(st.integers(1, 30)), draw(st.integers(1, 60)), draw(st.integers(1, 60))
    warm = rng.normal(size=(distinct, rank)) @ rng.normal(size=(rank, dim)) * 10.0 ** rng.uniform(-2, 0, dim)
    warm = warm[np.r_[np.arange(distinct), rng.integers(distinct, size=draw(st.integers(0, 60)))]]
    constant = rng.random(dim) < draw(st.sampled_from([0.0, 0.3]))
    warm[:, constant] = 0
    cold = rng.normal(size=(draw(st.integers(0, 8)), dim)) * draw(st.sampled_from([0.1, 1.0, 1e4]))
    values = np.concatenate([warm, cold]) + draw(st.sampled_from([0.0, 1.0, 30.0]))
    return values.astype(np.float32), np.arange(len(values)) < len(warm), distinct


@given(pilots(), st.sampled_from(["whiten", "z-score"]))
def test_no_pilot_is_a_leak_and_no_item_outside_of_training_lies_far_out(pilot, how):
    values, training, distinct = pilot
    names = [f"i{i}" for i in range(len(values))]
    made = make(values).align(names, training).standardised(how, training)
    assert wrong_statistics(made, training, np.array(names)) == ""
    length = np.linalg.norm(made.vectors(), axis=1)
    warm = np.sqrt(np.square(length[training]).mean())
    assert np.isfinite(length).all() and (length[~training] <= 2 * warm * 1.001 + 1e-6).all()
    assert made.values[training].tobytes() == values[training].tobytes()
    if how == "whiten":
        directions = np.count_nonzero(made.transform.any(axis=0))
        assert directions <= min(distinct - 1, values.shape[1])
        assert warm == pytest.approx(np.sqrt(directions), rel=1e-2)


@pytest.mark.parametrize("distinct", [53, 200, 760])
def test_few_distinct_vectors_blow_nothing_up(distinct):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(128, 128)))[0] * 10.0 ** -np.linspace(0, 2, 128)
    warm = rng.normal(size=(distinct, 128)) @ turn
    warm = warm[np.r_[np.arange(distinct), rng.integers(distinct, size=760 - distinct)]]
    matrix = whitening(warm)
    cold = (rng.normal(size=(200, 128)) @ turn - warm.mean(axis=0)) @ matrix
    ratio = np.linalg.norm(cold, axis=1).mean() / np.linalg.norm((warm - warm.mean(axis=0)) @ matrix, axis=1).mean()
    assert 0.8 < ratio < 1.25  # before anything is drawn in


def test_whitening_is_the_same_on_any_number_of_threads_and_up_to_the_order_of_items():
    values = np.random.default_rng(0).normal(size=(500, 96)).astype(np.float32)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(whitening(values).tobytes())
    assert found[0] == found[1]
    np.testing.assert_allclose(whitening(values[::-1]), whitening(values), atol=1e-4)


def test_copies_are_counted_up_to_rounding():
    values = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    rows = values[[0, 1, 1, 2, 1, 3]]
    rows[2] *= np.float32(1 + 1e-6)
    assert copies(rows).tolist() == [1, 3, 3, 1, 3, 1] and copies(np.ones((3, 2))).tolist() == [3, 3, 3]


@pytest.mark.parametrize("how", ["scale", "whiten", "z-score", "l2", "none"])
def test_every_standardisation_is_what_it_says_and_passes_the_audit(how):
    rng = np.random.default_rng(1)
    values = (rng.normal(size=(30, 4)) * [1, 5, 0.2, 0] + [3, 0, -1, 0]).astype(np.float32)
    values[7] = 0
    training = np.arange(30) < 20
    ids = [f"i{i}" for i in range(30)]
    features = make(values, ["missing" if i % 9 == 8 else "ok" for i in range(30)])
    one = features.align(ids, training).standardised(how, training)
    known = values[one.present & training]
    factor = one.transform if one.transform is not None else np.float32(1 / one.scale)
    z = (one.values - one.mean) @ factor if np.ndim(factor) == 2 else (one.values - one.mean) * factor
    if how == "z-score":
        assert z[one.present & training].std(axis=0) == pytest.approx([1, 1, 1, 0], abs=1e-4)
    if how == "l2":
        length = np.linalg.norm(z[one.present], axis=1)
        assert np.delete(length, np.flatnonzero(length == 0)) == pytest.approx(2.0, rel=1e-5)
        assert (length == 0).sum() == 1
        np.testing.assert_allclose(z[0] / 2, values[0] / np.linalg.norm(values[0]), rtol=1e-5)
    if how == "none":
        np.testing.assert_array_equal(z[one.present], values[one.present])
    if how in ("scale", "whiten", "z-score"):
        assert z[one.present & training].mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert wrong_statistics(one, training, np.array(ids)) == ""
    if how in ("z-score", "whiten", "scale"):
        other = features.align(ids, training).standardised(how, training | True)
        assert how == "scale" or wrong_statistics(other, training, np.array(ids))
    stands = one.values[~one.present]
    assert (stands == stands[0]).all() and len(known) == 18
    constant = one.constant()
    assert (constant.values == constant.values[0]).all() and np.isfinite(constant.values).all()


def test_layers_are_standardised_by_layer_or_as_one_vector():
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["mean"]})
    values = np.random.default_rng(0).normal(size=(6, 2, 1, 3)).astype(np.float16)
    ids, ok = [f"i{i}" for i in range(6)], np.array(["ok"] * 6)
    found = Features(space, ids, values, ok, np.array([""] * 6), np.zeros(6, np.float32), np.ones(2, np.float32))
    aligned = found.align(ids, np.ones(6, bool))
    assert aligned.standardised("whiten", np.ones(6, bool)) is aligned
    with pytest.raises(UserError, match="standardise=l2 takes one vector"):
        aligned.standardised("l2", np.ones(6, bool))


def test_space_id_depends_on_config_and_version_and_is_a_safe_name():
    base = FeatureSpace("captions.text", 1, "text", {"prompt": "a"})
    assert base.id == FeatureSpace("captions.text", 1, "text", {"prompt": "a"}, {"licence": "x"}).id
    assert base.id != FeatureSpace("captions.text", 2, "text", {"prompt": "a"}).id
    assert base.id != FeatureSpace("captions.text", 1, "text", {"prompt": "b"}).id
    assert "/" not in FeatureSpace("../x/y", 1, "text", {}).id


def test_digest_changes_with_values_status_and_ids():
    values = np.ones((3, 2))
    base = make(values).digest
    assert base == make(values.copy()).digest
    assert base != make(values * 2).digest
    assert base != make(values, ["ok", "ok", "error"]).digest
    assert base != make(values, ids=["i0", "i1", "i3"]).digest


def test_statistics_of_large_features_are_computed_slice_by_slice(monkeypatch):
    rng = np.random.default_rng(0)
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["mean", "last"]})
    values = (rng.normal(size=(50, 3, 2, 4)) * 5 + 9).astype(np.float16)
    ids, none = [f"i{i}" for i in range(50)], np.array([""] * 50)
    found = Features(space, ids, values, np.array(["ok"] * 49 + ["error"]), none, np.zeros(50, np.float32))
    training = np.arange(50) < 40
    whole = found.align(ids, training)
    monkeypatch.setattr(features, "LARGE", 0)
    monkeypatch.setattr(features, "row_slices", lambda array: [slice(at, at + 7) for at in range(0, len(array), 7)])
    part = found.align(ids, training)
    np.testing.assert_allclose(part.mean, whole.mean, rtol=1e-4)
    np.testing.assert_allclose(part.layer_scale, whole.layer_scale, rtol=1e-4)
    assert part.scale == pytest.approx(whole.scale, rel=1e-4)


def test_one_readout_of_every_layer_is_a_space_of_its_own():
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["mean", "last"]})
    values = np.random.default_rng(0).normal(size=(3, 2, 2, 4)).astype(np.float16)
    found = Features(space, ["a", "b", "c"], values, np.array(["ok"] * 3), np.array([""] * 3), np.zeros(3, np.float32))
    one = found.select_readout("last")
    assert one.space.readouts == ("last",) and one.space.id != space.id and np.shares_memory(one.values, values)
    np.testing.assert_array_equal(one.values[:, :, 0], values[:, :, 1])
