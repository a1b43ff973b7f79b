"""Row numbers and distinct values against numpy's."""

import numpy as np
import pytest

from protocols.row_numbers import consecutive, distinct, distinct_pairs, rows_between


@pytest.mark.parametrize("values", [[], [3], [5, 1, 5, 5, -2, 1], ["b", "a", "b"], [2.5, 2.5, -0.5]])
def test_distinct_values_are_those_of_numpy(values):
    values = np.array(values)
    np.testing.assert_array_equal(distinct(values), np.unique(values))


def test_distinct_pairs_are_those_of_numpy():
    rng = np.random.default_rng(1)
    for count, most in ((0, 5), (400, 9), (50, 2**31 - 1)):
        first, second = rng.integers(0, most, count), rng.integers(0, most, count).astype(np.int32)
        np.testing.assert_array_equal(
            np.stack(distinct_pairs(first, second)), np.unique(np.stack([first, second]), axis=1)
        )


def test_rows_that_follow_each_other_are_a_slice():
    assert consecutive(rows_between(3, 7)) == slice(3, 7)
    assert consecutive(np.array([3, 5, 4])).tolist() == [3, 5, 4]
