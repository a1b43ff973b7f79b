"""Sentence encoders: notes on long texts, prompts, architectures of today, and folders whose modules are refused."""

import json
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

from feature_extractors import pocket
from feature_extractors.base import ExtractContext
from feature_extractors.models import text_encoder
from feature_extractors.models.checkpoint import checkpoints
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.pipeline.stage import text_inputs
from feature_extractors.pipeline.text_embedding import text_vectors
from protocols.errors import CheckpointError, UserError


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


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
# (class, further settings, pooling, a dense layer behind it): those of Qwen3-Embedding, EmbeddingGemma, GTE, BGE-M3
KINDS = {
    "qwen3": ("Qwen3Model", {"num_key_value_heads": 1, "head_dim": 16}, "lasttoken", False),
    "gemma": ("Gemma3TextModel", {"num_key_value_heads": 1, "head_dim": 16}, "mean", True),
    "modernbert": ("ModernBertModel", {"cls_token_id": 2, "sep_token_id": 3}, "cls", False),
    "xlm-roberta": ("XLMRobertaModel", {}, "cls", False),
}
PROMPTS = {"query": "task: search result | query: ", "Document": "title: none | text: "}
TEXTS = ["a red ring", "two blue stars by the sea, and the word jazz"]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A function that writes a sentence encoder with random weights, prompts and the tokenizer of the pocket one."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    def make(name, prompts=PROMPTS, default=None):
        kind, settings, pooling, dense = KINDS[name]
        folder = tmp_path_factory.mktemp(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(pocket.TEXT_ENCODER)
        ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
        torch.manual_seed(0)
        body = getattr(transformers, kind)
        body(body.config_class(**SMALL, **settings, **ids, vocab_size=len(tokenizer))).save_pretrained(folder / "body")
        tokenizer.save_pretrained(folder / "body")
        modules = [Transformer(str(folder / "body")), Pooling(32, pooling_mode=pooling)]
        modules += [Dense(32, 16, bias=False)] if dense else []
        whole = SentenceTransformer(modules=[*modules, Normalize()], prompts=prompts, default_prompt_name=default)
        whole.save(str(folder / "whole"))
        return folder / "whole"

    return make


@pytest.mark.parametrize("name", KINDS)
def test_encoders_of_today_are_read_as_their_own_modules_and_prompts_say(build, tmp_path, name):
    from sentence_transformers import SentenceTransformer

    folder = build(name)
    texts = text_inputs(["a", "b"], TEXTS, "title")
    found = text_vectors("titles.vector", texts, ExtractContext(tmp_path), checkpoint=str(folder))
    wanted = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt=PROMPTS["Document"])
    assert_allclose(found.values, wanted, atol=1e-5)
    alone = text_encoder.TextEncoder(resolve(str(folder), folder), "float32", "cpu", prompt=PROMPTS["Document"])
    assert_allclose(np.concatenate([alone([text]) for text in TEXTS]), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "before"),
    [("", "query"), ("Document", "Document"), ("query", "query"), ("none", None), ("about: ", "about: ")],
)
def test_a_prompt_that_is_asked_for_wins_over_that_of_the_configuration_and_enters_the_key(
    build, tmp_path, asked, before
):
    folder = build("xlm-roberta", default="query")
    texts = text_inputs(["a", "b"], TEXTS, "title")
    found = text_vectors("titles.vector", texts, ExtractContext(tmp_path), checkpoint=str(folder), prompt=asked)
    before = PROMPTS.get(before, before)
    assert found.space.config.get("prompt") == before
    plain = text_encoder.TextEncoder(resolve(str(folder), folder), "float32", "cpu")
    assert_allclose(found.values, plain([(before or "") + text for text in TEXTS]), atol=1e-6)


def test_an_encoder_without_prompts_has_that_of_its_card(build, tmp_path):
    folder = build("xlm-roberta", prompts={}).rename(tmp_path / "e5-large-v2")
    texts, context = text_inputs(["a"], ["x"], "title"), ExtractContext(tmp_path / "store")
    spaces = [
        text_vectors("titles.vector", texts, context, checkpoint=str(folder), prompt=asked).space
        for asked in ("", "query: ", "none")
    ]
    assert [space.config.get("prompt") for space in spaces] == ["passage: ", "query: ", None]


def test_a_prompt_that_the_checkpoint_does_not_have_is_refused_by_name():
    with pytest.raises(UserError, match="no prompt is named 'documents' in the checkpoint, which has: Document, query"):
        text_encoder.document_prompt(PROMPTS, asked="documents")
