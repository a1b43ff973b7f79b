"""Sentence encoders: notes on long texts, and folders whose modules are refused."""

import pytest

from feature_extractors import pocket
from feature_extractors.base import ExtractContext
from feature_extractors.models import checkpoints, text_encoder
from feature_extractors.pipeline.stage import text_inputs
from feature_extractors.pipeline.text_embedding import text_vectors


@pytest.fixture(scope="module")
def encoder():
    checkpoint = checkpoints.resolve("pocket", pocket.TEXT_ENCODER)
    return text_encoder.TextEncoder(checkpoint, "float32", "cpu")


def test_a_text_that_is_not_read_to_its_end_has_a_note(encoder, tmp_path, monkeypatch):
    longest = encoder.model.max_seq_length
    long = "a red ball " * longest
    assert encoder.note("a red ball") == ""
    note = f"only the first {longest} tokens of the text are read"
    assert encoder.note(long) == note
    monkeypatch.setattr(text_encoder, "TextEncoder", lambda *given: encoder)
    texts = text_inputs(["a", "b", "c"], [long, long + "another end", "a red ball"], "title")
    found = text_vectors("titles.vector", texts, ExtractContext(tmp_path), checkpoint="pocket")
    assert (found.values[0] == found.values[1]).all()
    assert found.reason.tolist() == [note, note, ""]
