"""Vectors of one layer: `single-layer:K` and `one-word`."""

import numpy as np
import pytest

from bench import registry
from feature_extractors.base import ItemSource
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.media.result import Clip
from feature_extractors.models.architectures import decoder_of
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.decoder_states import StateReader
from feature_extractors.one_word import OneWord
from feature_extractors.single_layer import SingleLayer
from protocols.errors import UserError


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    root = tmp_path_factory.mktemp("clips")
    paths = [make_clip(root / f"{seed}.mp4", seed=seed) for seed in range(3)]
    return ItemSource([f"item{k}" for k in range(4)], [None] * 4, [*paths, None])


@pytest.fixture
def checkpoint(untrained):
    return str(untrained / "captioner")


def test_a_layer_is_that_of_hidden_states_and_shares_its_store(clips, checkpoint, context):
    states = HiddenStates(checkpoint=checkpoint).extract(clips, context)
    for layer in (0, 2, -1):
        found = SingleLayer(checkpoint=checkpoint, layer=layer, readout="visual").extract(clips, context)
        assert (found.space.kind, found.values.dtype, found.scales) == ("vector", np.float32, None)
        assert np.array_equal(found.values, states.readout(layer, "visual"))
        assert found.status.tolist() == ["ok"] * 3 + ["missing"]
    assert len(list(context.store.glob("*.lance"))) == 1


def test_the_layer_stands_behind_the_colon(checkpoint):
    options = {"single-layer": {"checkpoint": checkpoint, "readout": "prompt"}}
    chosen = registry.create("extractor", "single-layer:3", options)
    assert (chosen.layer, chosen.readout, chosen.label) == (3, "prompt", "single-layer:3")
    assert registry.create("extractor", "shuffled:single-layer:3", options).label == "shuffled:single-layer:3"
    assert chosen.options()["layer"] == 3
    for word, said in (("single-layer", "needs a layer"), ("single-layer:x", "expected int")):
        with pytest.raises(UserError, match=said):
            registry.create("extractor", word, options)
    with pytest.raises(UserError, match="did you mean 'visual'"):
        SingleLayer(readout="visuals")


def test_a_layer_that_is_not_there_is_refused(clips, checkpoint, context):
    with pytest.raises(UserError, match="layers 0 to 3, no layer 4"):
        SingleLayer(checkpoint=checkpoint, layer=4).extract(clips, context)


def test_one_word_is_the_last_state_behind_its_words(clips, checkpoint, context):
    one = OneWord(checkpoint=checkpoint).extract(clips, context)
    states = HiddenStates(checkpoint=checkpoint, prompt="one-word", begin="This video in one word:")
    assert np.array_equal(one.values, states.extract(clips, context).readout(3, "last"))
    without = HiddenStates(checkpoint=checkpoint, prompt="one-word").extract(clips, context)
    assert not np.allclose(one.values[:3], without.readout(3, "last")[:3], atol=1e-2)
    # what comes before them cannot see the words that the answer begins with
    both = states.extract(clips, context)
    assert np.allclose(both.readout(3, "visual")[:3], without.readout(3, "visual")[:3], atol=2e-3)


def test_the_words_an_answer_begins_with_are_in_the_prompt_of_the_model(checkpoint, untrained):
    found = resolve(checkpoint, untrained / "captioner")
    reader = StateReader(found, decoder_of(found).family, "float32", "cpu", "Describe.", begin="In one word:")
    clip = Clip(np.zeros((2, 56, 56, 3), np.uint8), [0, 1], [0.0, 0.5], 2, 2.0, 0, "pyav")
    text = reader.processor.tokenizer.decode(reader.inputs([clip])["input_ids"][0])
    assert text.rstrip().endswith("In one word:")
