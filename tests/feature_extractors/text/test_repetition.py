"""Texts caught in a loop."""

import random

import pytest

from feature_extractors.text import repetition
from feature_extractors.transcripts import Transcripts

WORDS = """a man in red coat walks across the bridge while two dogs follow him and somebody waves from boat below before
rain sets in over harbour with cranes gulls nets barrels lamps ropes children bicycles umbrellas steps windows"""


def prose(count, seed=0):
    return " ".join(random.Random(seed).choices(WORDS.split(), k=count))


@pytest.mark.parametrize("text", ["", "a cat", "red " * 30, prose(100), "\N{CAT FACE} 猫" * 9])
def test_the_ratio_is_whispers(text):
    from whisper.utils import compression_ratio

    assert repetition.compression(text) == compression_ratio(text)


def test_loops_are_above_the_limit_and_prose_of_any_length_is_below():
    assert repetition.highest("") == 0
    for count in (1, 20, 150, 2000):
        assert repetition.highest(prose(count)) < repetition.LIMIT
    assert repetition.compression(prose(2000)) > repetition.LIMIT  # why texts are judged in pieces
    for loop in ("red " * 16, "a cat and a dog " * 6, prose(400) + " he says" * 150):
        assert repetition.highest(loop) > repetition.LIMIT


def test_transcripts_are_judged_by_the_same_limit():
    assert Transcripts().compression == repetition.LIMIT
