"""Sentence encoders: notes on long texts, and folders whose modules are refused."""

import json
import shutil

import pytest

from feature_extractors import pocket
from feature_extractors.base import ExtractContext
from feature_extractors.models import checkpoints, text_encoder
from feature_extractors.pipeline.stage import text_inputs
from feature_extractors.pipeline.text_embedding import text_vectors
from protocols.errors import CheckpointError


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


def test_a_folder_that_names_foreign_classes_is_refused_and_nothing_of_it_is_imported(tmp_path, monkeypatch):
    folder = tmp_path / "encoder"
    shutil.copytree(pocket.TEXT_ENCODER, folder)
    (tmp_path / "foreign.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules[-1]["type"] = "foreign.Module"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match=r"names the class foreign\.Module"):
        text_encoder.load_model(checkpoints.resolve(str(folder), pocket.TEXT_ENCODER), "float32", "cpu")
