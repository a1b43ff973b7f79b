"""`Dataset.build`: what every plug-in's frames go through, third-party ones too."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dataset import Dataset
from protocols.errors import DataError, UserError

T = 1_700_000_000_000


def frame(*rows):
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def build(log, items=("a", "b")):
    return Dataset.build("toy", "1", log, pd.DataFrame(index=list(items)))


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (frame(), "no interactions"),
        (frame(("u", "a", T)).drop(columns="item_id"), "lack the column.* item_id"),
        (frame(("u", "a", T), (None, "a", T)), "row 1 .* has no user_id"),
        (frame(("u", "a", T), ("u", np.nan, T)), "row 1 .* has no item_id"),
        (frame(("u", "a", T), ("u", "a", np.nan)), "row 1 .* has no timestamp"),
        (frame(("u", "a", T), ("u", "b", T + 0.5)), "row 1 has timestamp .*whole milliseconds"),
        (frame(("u", "a", "1700000000000")), "timestamps are object"),
        (frame(("u", "a", pd.Timestamp("2023-11-14"))), "timestamps are datetime64"),
        (frame(("u", "a", T), ("u", "c", T)), "names item 'c', not in items"),
    ],
)
def test_frames_that_make_no_dataset_are_refused(log, says):
    with pytest.raises(DataError, match=says):
        build(log)


def test_item_twice_is_refused():
    with pytest.raises(DataError, match="'a' occurs twice"):
        build(frame(("u", "a", T)), items=("a", "b", "a"))


def test_whole_floats_and_number_ids_are_taken_as_they_read():
    dataset = build(frame((7, 1, float(T))), items=(1,))
    assert dataset.interactions.to_numpy().tolist() == [["7", "1", T]]


ROWS = st.tuples(st.sampled_from(["10", "9", "é", "", "Z", "a"]), st.sampled_from(["b", "a", "ab"]), st.integers(-2, 2))


@settings(max_examples=500)
@given(st.lists(ROWS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_canonical_order_does_not_depend_on_the_order_of_rows(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    log = frame(*shuffled)
    before = log.copy()
    dataset = build(log, items=("a", "ab", "b"))
    assert [tuple(r) for r in dataset.interactions.to_numpy()] == sorted(set(rows), key=lambda r: (r[2], r[0], r[1]))
    assert dataset.duplicates == len(rows) - len(set(rows))
    pd.testing.assert_frame_equal(log, before)


def test_a_sample_keeps_whole_users_and_is_another_dataset():
    log = frame(*[(f"u{k % 9}", "ab"[k % 2], T + k) for k in range(60)])
    whole = build(log)
    part = whole.sampled(4)
    kept = set(part.interactions["user_id"])
    assert len(kept) == 4 and part.fingerprint != whole.fingerprint
    expected = whole.interactions[whole.interactions["user_id"].isin(kept)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.interactions, expected)
    assert part.fingerprint == whole.sampled(4).fingerprint != whole.sampled(4, seed=1).fingerprint
    with pytest.raises(UserError, match="10 users were asked for; toy has 9"):
        whole.sampled(10)
