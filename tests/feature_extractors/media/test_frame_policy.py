"""Frame policies by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_extractors.media.frame_policy import (
    EXAMPLES,
    MAX_FRAMES,
    At,
    ClipTopK,
    First,
    Fps,
    TooManyFramesError,
    Uniform,
    parse,
    parse_any,
)
from protocols.errors import UserError

seconds = st.integers(1, 10_000).map(lambda tenths: tenths / 10)
ends = st.none() | seconds
policies = st.one_of(
    st.builds(Uniform, st.integers(1, MAX_FRAMES), ends),
    st.builds(First, seconds, st.integers(1, MAX_FRAMES)),
    st.builds(Fps, st.integers(1, 24_000).map(lambda hundredths: hundredths / 100), ends),
    st.builds(At, st.lists(st.integers(0, 999_999_999), min_size=1).map(sorted).map(tuple), ends),
)


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


@given(policies, st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_every_policy_chooses_ascending_frames_of_the_clip(policy, steps):
    times = np.cumsum(steps) - steps[0]
    try:
        indices = policy.indices(times)
    except TooManyFramesError:
        assert times[-1] * policy.rate >= MAX_FRAMES - 1
        return
    assert all(type(index) is int for index in indices)
    assert indices == sorted(indices)
    assert 0 <= indices[0] <= indices[-1] < len(times)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=100), st.sampled_from([0.25, 1.0, 2.0, 7.5]))
def test_fps_takes_the_frame_on_show(steps, rate):
    times = (np.cumsum(steps) - steps[0]) / 1000
    for k, index in enumerate(Fps(rate).indices(times)):
        assert times[index] <= k / rate + 1e-3 + 1e-9
        assert index + 1 == len(times) or times[index + 1] > k / rate + 1e-3 - 1e-9


def test_fps_survives_times_that_jump_back_and_timestamps_rounded_to_milliseconds():
    assert Fps(1.0).indices(np.array([0.0, 2.0, 1.0, 2.5])) == [0, 0, 2]
    rounded = np.round(np.arange(90) / 30, 3)
    assert Fps(10.0).indices(rounded) == list(range(0, 90, 3))


def test_fps_of_a_clip_that_seems_to_last_for_ever_is_refused():
    with pytest.raises(TooManyFramesError, match="max_seconds"):
        Fps(1.0).indices(np.array([0.0, 1e9]))


@given(policies)
def test_key_is_the_canonical_spelling(policy):
    assert parse(policy.key) == policy
    assert parse(policy.key).key == policy.key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("uniform:08", "uniform:8"),
        ("uniform:8@240s", "uniform:8"),
        ("uniform:8@60", "uniform:8@60s"),
        ("uniform:8@all", "uniform:8@all"),
        ("first:30s", "first:30s/8"),
        ("first:30", "first:30s/8"),
        ("first:2.50s/16", "first:2.5s/16"),
        ("first:300s", "first:240s/8"),
        ("first:300s@all", "first:300s/8@all"),
        ("fps:1.0", "fps:1"),
        ("fps:0.5@60s", "fps:0.5@60s"),
        ("at:12+0+040", "at:0+12+40"),
        ("at:0@all", "at:0@all"),
    ],
)
def test_spellings(text, key):
    assert parse(text).key == key


def test_max_seconds_ends_every_policy_and_is_part_of_the_key():
    assert parse("uniform:8").seconds == parse("fps:1").seconds == 240
    assert parse("uniform:8", 60).key == "uniform:8@60s"
    assert parse("first:90s", 60) == First(60.0, 8)
    assert parse("fps:1", None).key == "fps:1@all"
    assert parse("uniform:8@30s", 60).seconds == 30


def test_examples_are_policies():
    assert [parse(text).key for text in EXAMPLES] == list(EXAMPLES)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unifrom:8", "did you mean 'uniform'"),
        ("frist:30s", "did you mean 'first'"),
        ("uniform", "uniform:N"),
        ("uniform:0", "uniform:N"),
        ("uniform:1025", "1 to 1024"),
        ("uniform:²", "uniform:N"),
        ("uniform:-3", "uniform:N"),
        ("first:", "first:30s/16"),
        ("first:0s", "first:30s/16"),
        ("first:30s/0", "first:30s/16"),
        ("first:30s/", "first:30s/16"),
        ("first:30m", "first:30s/16"),
        ("fps:0", "fps:F"),
        ("fps:inf", "fps:F"),
        ("fps:1e3", "fps:F"),
        ("fps:241", "at most 240"),
        ("uniform:8@", "uniform:8@60s"),
        ("uniform:8@soon", "uniform:8@60s"),
        ("at:", "at:P"),
        ("at:3,4", "at:P"),
        ("at:-1", "at:P"),
        ("at:1++2", "at:P"),
        ("clip-topk:4", "titles of items"),
    ],
)
def test_wrong_policies_are_refused(text, says):
    with pytest.raises(UserError, match=says):
        parse(text)


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 100))
def test_topk_keeps_the_nearest_frames_in_time_order(data, a, b, total):
    count, of = sorted((a, b))
    near = np.array(data.draw(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), min_size=of, max_size=of)))
    policy = ClipTopK(count, of)
    positions = policy.candidates.indices(np.arange(total))
    # frames that occur more than once are one picture, and near alike
    near = np.array([near[positions.index(position)] for position in positions])
    chosen = policy.choose(positions, near)
    assert len(chosen) == count
    assert chosen == sorted(chosen)
    assert set(chosen) <= set(positions)
    if len(set(positions)) < count:
        assert set(chosen) == set(positions)
        return
    assert len(set(chosen)) == count
    at = dict(zip(positions, near, strict=True))
    ranked = sorted(at, key=lambda position: (-at[position], position))
    assert chosen == sorted(ranked[:count])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("clip-topk:4", "clip-topk:4/20"),
        ("clip-topk:4/20@240s", "clip-topk:4/20"),
        ("clip-topk:8/32@60s", "clip-topk:8/32@60s"),
        ("clip-topk:8/8@all", "clip-topk:8/8@all"),
    ],
)
def test_topk_has_a_canonical_spelling(text, key):
    assert parse_any(text).key == key
    assert parse_any(key) == parse_any(text)


@pytest.mark.parametrize(
    "text", ["clip-topk", "clip-topk:", "clip-topk:0", "clip-topk:21", "clip-topk:9/8", "clip-topk:4/", "clip-topk:4/x"]
)
def test_topk_of_fewer_frames_than_it_keeps_is_refused(text):
    with pytest.raises(UserError, match="K of N frames"):
        parse_any(text)


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), 1e-9])
def test_wrong_ends_are_refused(wrong):
    with pytest.raises(UserError, match="max_seconds"):
        parse("uniform:8", wrong)
