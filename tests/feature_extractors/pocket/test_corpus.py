"""Pocket checkpoints are taught named attributes, never the unnamed factors, nor the demo's own clips."""

import re

import numpy as np
import pytest

from feature_extractors.pocket.building import corpus
from feature_extractors.pocket.building.clip_pool import training_scenes
from protocols.datasets.demo.factors import (
    CAMERAS,
    HELD_BACK,
    PALETTES,
    SPOKEN,
    SPOKEN_TOPICS,
    TEXTURES,
    gold_description,
    is_held_back,
    named_attributes,
    sample_scene,
)
from protocols.datasets.demo.population import Size


def words(text):
    return set(re.findall(r"[a-z]+", text.lower()))


@pytest.fixture(scope="module")
def training_words():
    """Every word of a large sample of each kind of training text."""
    rng = np.random.default_rng(3)
    texts = [*corpus.PROMPTS, *corpus.SYSTEM_MESSAGES, *corpus.captioner_texts(5, 800), *corpus.encoder_texts(5, 800)]
    for _ in range(150):
        sentence = corpus.pseudo_sentence(rng)
        texts += [corpus.join(corpus.reworded(sentence, rng), rng), corpus.join(corpus.altered(sentence, rng), rng)]
    return set().union(*map(words, texts))


def test_training_texts_name_no_unnamed_factor_no_sound_and_no_spoken_word(training_words):
    forbidden = {*TEXTURES, *CAMERAS, *PALETTES, *SPOKEN, *SPOKEN_TOPICS}
    assert forbidden <= corpus.UNNAMED
    assert not training_words & corpus.UNNAMED


def test_every_word_with_which_gold_descriptions_tell_the_unnamed_is_forbidden(training_words):
    rng = np.random.default_rng(4)
    told = set()
    for _ in range(400):
        _, unnamed, sound = gold_description(sample_scene(rng)).split(". ")
        told |= words(unnamed) | words(sound)
    assert told - corpus.UNNAMED <= {"a", "no", "about"}
    assert training_words & told <= {"a", "no", "about"}


def test_training_texts_do_name_every_named_value(training_words):
    for values in corpus.ATTRIBUTES.values():
        assert set(values) - {"none"} <= training_words


def test_training_clips_and_texts_show_no_held_back_combination():
    assert HELD_BACK
    scenes = [scene for chunk in range(4) for scene in training_scenes(seed=1, chunk=chunk)]
    assert not any(map(is_held_back, scenes))
    rng = np.random.default_rng(6)
    named = [corpus.random_named(rng) for _ in range(2000)]
    for (a, b), pairs in HELD_BACK.items():
        shown = {(n[a], n[b]) for n in named} | {(getattr(s, a), getattr(s, b)) for s in scenes}
        assert not shown & set(pairs)
        assert len(shown) == len(corpus.ATTRIBUTES[a]) * len(corpus.ATTRIBUTES[b]) - len(pairs)


def test_training_clips_are_not_the_demos_clips():
    size = Size()
    demo = {sample_scene(size.stream("scene", i)) for i in range(size.clips)}
    assert len(demo) == size.clips
    assert not demo & {scene for chunk in range(2) for scene in training_scenes(seed=1, chunk=chunk)}


def test_a_caption_tells_exactly_the_named_attributes():
    rng = np.random.default_rng(7)
    for _ in range(300):
        named = named_attributes(sample_scene(rng))
        assert corpus.read_caption(corpus.caption(named)) == named


def test_an_attribute_that_a_text_leaves_out_is_not_read_from_it():
    read = corpus.read_caption("Two crosses in the forest.")
    assert read == {"count": "two", "colour": "", "shape": "cross", "motion": "", "setting": "forest", "word": ""}


def test_near_misses_differ_in_one_attribute_only():
    rng = np.random.default_rng(8)
    for _ in range(100):
        named = corpus.random_named(rng)
        other = corpus.change_one(named, rng)
        assert sum(named[a] != other[a] for a in named) == 1
