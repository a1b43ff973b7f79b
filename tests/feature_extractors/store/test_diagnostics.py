"""Diagnostics against known spectra and naive formulas; degenerate spaces are called so."""

import numpy as np
import pytest

from feature_extractors.store import diagnostics
from feature_extractors.store.diagnostics import diagnose, diagnose_space, effective_rank, sample, summary, verdict
from protocols.features import Features, FeatureSpace

VECTOR = FeatureSpace("x.vector", 1, "vector", {})


def with_singular_values(values, rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((rows, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((columns, len(values))))[0]
    return left * values @ right.T


@pytest.mark.parametrize("shape", [(50, 20), (20, 50), (30, 30)])
@pytest.mark.parametrize("singular", [[1.0], [2.0, 2.0, 2.0], [5.0, 1.0, 0.1, 1e-3], [1e-20, 3e-20]])
def test_effective_rank_is_the_exponential_of_the_entropy(shape, singular):
    shares = np.array(singular) / sum(singular)
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(with_singular_values(np.array(singular), *shape)) == pytest.approx(expected, rel=1e-6)


def test_all_statistics_equal_their_plain_formulas():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((40, 6)).astype(np.float32) + 1
    values[:, 2] = 7
    values[5] = values[6] = values[4]
    values[9] = 0
    found = diagnose(values)
    norms = [float(np.sqrt((row.astype(float) ** 2).sum())) for row in values]
    pairs = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
        for i, a in enumerate(values.astype(float))
        for j, b in enumerate(values.astype(float))
        if i != j and 9 not in (i, j)
    ]
    assert (found.items, found.dim, found.zeros, found.duplicates) == (40, 6, 1, 2 / 40)
    assert found.constant == 0  # the zero vector is no 7
    assert diagnose(values[10:]).constant == 1
    assert found.cosine == pytest.approx(np.mean(pairs), abs=1e-9)
    assert (found.norm_mean, found.norm_sd) == pytest.approx((np.mean(norms), np.std(norms)), rel=1e-6)
    assert (found.norm_min, found.norm_max) == pytest.approx((0, max(norms)), rel=1e-6)
    centred = values.astype(float) - values.astype(float).mean(axis=0)
    share = np.linalg.svd(centred, compute_uv=False)
    share = share[share > 1e-9] / share.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)


def test_shifting_all_vectors_leaves_the_rank_and_minus_zero_is_zero():
    values = np.random.default_rng(0).standard_normal((30, 5))
    assert diagnose(values + 100).effective_rank == pytest.approx(diagnose(values).effective_rank, rel=1e-6)
    assert diagnose(np.array([[0.0, 1], [-0.0, 1]], np.float32)).duplicates == 0.5


def healthy(count=60, dim=8):
    return np.random.default_rng(1).standard_normal((count, dim)).astype(np.float32)


def degenerate_spaces():
    base = healthy()
    line = np.outer(np.linspace(-1, 1, 60), base[0]).astype(np.float32)
    cone = base * 0.01 + 5
    repeated = np.repeat(base[:20], 3, axis=0)
    return {"effective rank 1.00 < 2": line, "mean cosine": cone, "67% duplicates > 50%": repeated}


@pytest.mark.parametrize("reason", list(degenerate_spaces()))
def test_each_kind_of_degenerate_space_is_called_so(reason):
    found = diagnose(degenerate_spaces()[reason])
    assert reason in found.degenerate
    assert found.degenerate.count(",") == 0


def test_equal_vectors_are_degenerate_in_every_way_and_healthy_ones_in_none():
    found = diagnose(np.full((12, 3), 0.1, np.float32))
    assert (found.effective_rank, found.constant, found.duplicates) == (0.0, 3, 11 / 12)
    assert found.degenerate.count(",") == 2
    assert diagnose(healthy()).degenerate == ""


def test_few_items_allow_no_verdict_and_one_has_no_pairs():
    assert diagnose(np.ones((diagnostics.MIN_ITEMS - 1, 3))).degenerate == ""
    assert diagnose(np.ones((1, 3))).cosine is None
    assert diagnose(np.zeros((4, 3))).cosine is None


def layers(readouts=("mean", "last")):
    values = np.stack([np.stack([healthy(), healthy() * 3], 1) for _ in range(3)], 1).astype(np.float16)
    values[:, 1, 1] = values[0, 1, 1]
    return FeatureSpace("x.layers", 1, "layers", {"readouts": list(readouts)}), values


def test_every_layer_and_readout_has_its_own_line():
    found = diagnose_space(*layers())
    assert [one.part for one in found] == [f"layer {k} {name}" for k in range(3) for name in ("mean", "last")]
    assert [bool(one.degenerate) for one in found] == [False] * 3 + [True] + [False] * 2
    assert summary(found).startswith("1 of 6 parts: layer 1 last: effective rank 0.00 < 2")
    assert diagnose_space(*layers(()))[3].part == "layer 1 1"


def features(space, values, ok=None):
    count = len(values)
    status = np.where(np.ones(count, bool) if ok is None else ok, "ok", "missing").astype(object)
    nothing = np.full(count, "", object)
    return Features(space, [str(k) for k in range(count)], values, status, nothing, np.zeros(count, np.float32))


def test_verdict_looks_at_items_with_a_feature_only():
    mixed = np.concatenate([healthy(30), np.zeros((70, 8), np.float32)])
    assert verdict(features(VECTOR, mixed, np.arange(100) < 30)) == ""
    assert "duplicates" in verdict(features(VECTOR, mixed))
    assert "layer 1 last" in verdict(features(*layers()))
    assert verdict(features(VECTOR, mixed, np.zeros(100, bool))) == ""
    texts = np.array(["a"] * 20, dtype=object)
    assert verdict(features(FeatureSpace("x.text", 1, "text", {}), texts)) == ""


def test_sample_is_bounded_and_always_the_same():
    assert sample(5, 10**12).tolist() == [0, 1, 2, 3, 4]
    assert len(sample(10**6, 100)) == diagnostics.SAMPLE
    assert len(sample(1000, diagnostics.SAMPLE_BYTES // 50)) == 50
    assert len(sample(1000, diagnostics.SAMPLE_BYTES)) == diagnostics.MIN_ITEMS
    chosen = sample(10**5, 100)
    assert (np.diff(chosen) > 0).all()
    assert (chosen == sample(10**5, 100)).all()
    assert chosen[len(chosen) // 2] > 4 * 10**4
