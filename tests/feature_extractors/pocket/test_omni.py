"""The pocket Qwen2.5-Omni: what it is trained on is what it is given in use, and it says what is seen and heard."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from feature_extractors.media import audio, video
from feature_extractors.media.audio import Listening
from feature_extractors.media.frame_policy import parse
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.qwen_omni import OmniCaptioner
from feature_extractors.pipeline.av_reader import join_frames_and_sound
from feature_extractors.pocket import OMNI
from feature_extractors.pocket.building import corpus, sound_captions
from feature_extractors.pocket.building.omni import MAX_NEW_TOKENS, joint_caption, texts
from feature_extractors.pocket.evaluation.omni import accuracy, held_out_scenes
from feature_extractors.text.prompt_files import read_prompt
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import named_attributes


@pytest.fixture(scope="module")
def captioner():
    return OmniCaptioner(resolve("pocket", OMNI), "float32", "cpu", read_prompt("describe-omni"), MAX_NEW_TOKENS)


@pytest.fixture(scope="module")
def scenes():
    return held_out_scenes(24, held_back=False, seed=5)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, scenes):
    folder = tmp_path_factory.mktemp("clips")

    def read(at, scene):
        path = folder / f"{at}.mp4"
        path.write_bytes(encode(scene))
        return join_frames_and_sound(video.decode(path, parse("uniform:8")), audio.listen(path, Listening()))

    return [read(at, scene) for at, scene in enumerate(scenes)]


def test_the_shipped_files_are_small_and_safe_and_have_a_card():
    files = [path for path in OMNI.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert (OMNI / "model.safetensors").stat().st_size <= 3_500_000
    card = (OMNI / "README.md").read_text(encoding="utf-8").lower()
    for word in ("apache-2.0", "simulated", "held-back combinations", "cpu seconds", *corpus.ATTRIBUTES):
        assert word in card
    assert json.loads((OMNI / "config.json").read_text())["model_type"] == "qwen2_5_omni"


def test_texts_name_what_is_seen_and_what_is_heard(captioner, clips, scenes):
    shares = accuracy(captioner(clips), scenes)
    # Chance is below .17 for colour and setting, .35 for the word, .5 or less for what is heard.
    for factor in ("colour", "setting", "word", "motion", "mood", "rhythm"):
        assert shares[factor] > 0.8, (factor, shares)


def test_another_sound_changes_what_is_heard_and_not_what_is_seen(captioner, clips, scenes):
    other = {"bright": "dark", "dark": "bright"}
    pairs = [(one, next(k for k, two in enumerate(scenes) if two.mood == other[scenes[one].mood])) for one in range(6)]
    swapped = [replace(clips[one], sound=clips[two].sound) for one, two in pairs]
    first, second = captioner(clips[:6]), captioner(swapped)
    assert all(a != b for a, b in zip(first, second, strict=True))
    moods = [sound_captions.read_caption(text)["mood"] for text in second]
    assert sum(mood == scenes[two].mood for mood, (_, two) in zip(moods, pairs, strict=True)) >= 5
    seen = [(corpus.read_caption(a), corpus.read_caption(b)) for a, b in zip(first, second, strict=True)]
    for factor in ("colour", "setting", "word"):
        assert sum(a[factor] == b[factor] for a, b in seen) >= 5, factor


def test_without_sound_nothing_is_said_of_it(captioner, clips, scenes):
    said = captioner([replace(clip, sound=None) for clip in clips[:12]])
    heard = [sound_captions.read_caption(text) for text in said]
    assert not any(any(values.values()) for values in heard)
    right = [corpus.read_caption(text)["colour"] == scene.colour for text, scene in zip(said, scenes[:12], strict=True)]
    assert sum(right) >= 9


def test_training_gives_the_language_model_what_the_stock_model_gives_it(captioner, clips, scenes, tmp_path):
    """Ids, positions, what eyes and ears make: a training step of one clip equals the stock model's own loss."""
    import torch
    import torch.nn.functional as F

    from feature_extractors.pocket.building.clip_pool import Pool, resize
    from feature_extractors.pocket.training.omni import Turns, World, loss_of

    one, scene = clips[0], scenes[0]
    model, processor = captioner.model, captioner.processor
    labels = [values.index(named_attributes(scene)[name]) for name, values in corpus.ATTRIBUTES.items()]
    spacing = np.array([scene.seconds / 8], np.float32)
    world = object.__new__(World)
    world.pool = Pool(resize(one.clip.frames)[None], np.array([labels]), spacing)
    with torch.inference_mode():
        world.seen = world._see(model, processor, 0).float()
        tokens, frames = world._hear(model, processor, one.sound.samples)
    world.heard, world.frames, world.named = [tokens.float()], np.array([frames]), [sound_captions.heard_in(scene)]

    class First:
        """A generator that always takes the first of everything."""

        def random(self):
            return 0.0

    for silent in (False, True):
        with torch.inference_mode():
            found = loss_of(model, Turns(processor), world, np.array([0]), None if silent else np.array([0]), First())
            inputs = captioner.inputs(replace(one, sound=None) if silent else one)
            text = joint_caption(named_attributes(scene), None if silent else sound_captions.heard_in(scene))
            said = torch.tensor([[*processor.tokenizer(text)["input_ids"], processor.tokenizer.eos_token_id]])
            ids = torch.cat([inputs.pop("input_ids"), said], dim=1)
            inputs["attention_mask"] = torch.ones_like(ids)
            logits = model(input_ids=ids, use_audio_in_video=not silent, **inputs).logits
            stock = F.cross_entropy(logits[0, -said.shape[1] - 1 : -1], said[0])
        assert abs(float(found - stock)) < 0.02, silent


def test_no_training_text_names_an_unnamed_factor_of_what_is_seen():
    def words(sentences):
        return set(re.findall("[a-z]+", " ".join(sentences).lower()))

    moods, rhythms, spoken = sound_captions.FACTORS.values()
    heard = words(
        sound_captions.caption({"mood": mood, "rhythm": rhythm, "spoken": word})
        for mood in moods
        for rhythm in rhythms
        for word in spoken
    )
    assert not words(texts(n=500)) & (corpus.UNNAMED - heard - {"sound"})
    assert {"striped", "panning", "small", "texture"} <= corpus.UNNAMED - heard
