"""Frame policies by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_extractors.frames import Uniform, parse
from protocols.errors import UserError


@given(st.integers(1, 64), st.integers(1, 5000))
def test_uniform_frames_are_ascending_inside_the_clip_and_centred(count, total):
    indices = Uniform(count).indices(np.arange(total))
    assert len(indices) == count
    assert indices == sorted(indices)
    assert indices[0] >= 0
    assert indices[-1] < total
    if total >= count:
        assert len(set(indices)) == count
        assert abs(indices[0] - (total - 1 - indices[-1])) <= 1


def test_key_is_the_canonical_spelling():
    assert parse("uniform:08").key == "uniform:8"
    assert parse(parse("uniform:3").key) == Uniform(3)


@pytest.mark.parametrize(
    ("text", "says"), [("unifrom:8", "did you mean 'uniform'"), ("uniform", "uniform:N"), ("uniform:0", "uniform:N")]
)
def test_wrong_policies_are_refused(text, says):
    with pytest.raises(UserError, match=says):
        parse(text)
