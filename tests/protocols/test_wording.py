"""Counts in messages and tables."""

import pytest

from protocols.wording import counted


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "fold", "1 fold"), (0, "seed", "0 seeds"), (2, "more row", "2 more rows"), (3, "process", "3 processes")],
)
def test_one_is_singular_and_all_else_plural(count, noun, text):
    assert counted(count, noun) == text


def test_a_number_has_the_format_that_is_asked_for():
    assert counted(12_345, "user", ",") == "12,345 users"
