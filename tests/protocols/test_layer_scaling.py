"""float16 with a scale."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from protocols.features import Features, FeatureSpace
from protocols.layer_scaling import LARGEST, to_common_scale, to_float16

FLOATS = st.floats(-(2.0**127), 2.0**127, width=32)


@settings(max_examples=500)
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4)), elements=FLOATS))
def test_whatever_is_finite_stays_so_and_keeps_its_value(states):
    values, scales = to_float16(states)
    assert values.dtype == np.float16
    assert np.isfinite(values).all()
    assert (np.log2(scales) % 1 == 0).all()
    top = np.abs(states).max(axis=(1, 2))
    assert ((scales == 1) == (top <= LARGEST)).all()
    assert (scales <= np.maximum(4 * (top / LARGEST), 1)).all()  # no more bits are given away than must be
    back = values.astype(np.float64) * scales[:, None, None]
    # 11 bits of each number, and nothing finer than the smallest float16 of its layer
    assert (np.abs(back - states) <= np.abs(states) * 2.0**-11 + scales[:, None, None] * 2.0**-25).all()


@settings(max_examples=200)
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.just(2), st.just(2), st.just(3)), elements=FLOATS))
def test_items_with_scales_of_their_own_are_brought_to_one(states):
    packed = [to_float16(one) for one in states]
    values, scales = np.stack([v for v, _ in packed]), np.stack([s for _, s in packed])
    common = to_common_scale(values, scales)
    assert np.isfinite(values).all()
    assert (common == scales.max(axis=0)).all()
    back = values.astype(np.float64) * common[:, None, None]
    assert (np.abs(back - states) <= np.abs(states) * 2.0**-10 + common[:, None, None] * 2.0**-24).all()


def test_nothing_at_all_has_scales_of_one():
    values, scales = to_float16(np.zeros((2, 0, 3)))
    assert values.shape == (2, 0, 3)
    assert scales.tolist() == [1, 1]
    assert to_common_scale(np.zeros((0, 2, 1, 3), np.float16), np.zeros((0, 2), np.float32)).tolist() == [1, 1]


def test_scales_go_with_the_features_and_count_in_their_digest():
    space = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["visual", "last"]})
    values = np.arange(24, dtype=np.float16).reshape(2, 3, 2, 2)
    ok, nothing = np.array(["ok", "ok"], dtype=object), np.array(["", ""], dtype=object)
    small, large = (
        Features(space, ["a", "b"], values, ok, nothing, np.zeros(2), np.array([1, 1, s], dtype=np.float32))
        for s in (1, 8)
    )
    assert small.digest != large.digest
    assert large.readout(-1, "last").tolist() == (8 * values[:, 2, 1].astype(np.float32)).tolist()
    assert large.readout(0, "visual").tolist() == values[:, 0, 0].tolist()
    aligned = large.align(["b", "x", "a"], np.array([True, True, True]))
    assert aligned.scales.tolist() == [1, 1, 8]
    assert aligned.shuffled(0).scales.tolist() == [1, 1, 8]
