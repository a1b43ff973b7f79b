"""JSON that every program reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from protocols import json_text


def refuse(name):
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([float("nan"), float("-inf"), np.float64("nan"), np.float32("inf")], [None] * 4),
        ({"a": np.array([[1.0, np.nan]]), 3: (np.int64(2), True)}, {"a": [[1.0, None]], "3": [2, True]}),
        ({"path": Path("x/y"), "text": "ä\ud800"}, {"path": "x/y", "text": "ä\ud800"}),
        ({"nan": {float("nan"): [{"deep": float("nan")}]}}, {"nan": {"nan": [{"deep": None}]}}),
    ],
)
def test_what_json_cannot_hold_becomes_what_it_can(content, expected):
    assert json.loads(json_text.dumps(content), parse_constant=refuse) == expected


def test_numbers_and_texts_stay_as_they_are():
    content = {"a": [0.1, 1e-300, -0.0, 2**60, "NaN", "", None, False]}
    assert json_text.dumps(content, indent=1) == json.dumps(content, indent=1)
