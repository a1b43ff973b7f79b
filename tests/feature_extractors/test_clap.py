"""CLAP: whole clips, windows of long ones, other rates, and nothing drawn at random."""

import json
from itertools import islice

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.clap import Clap as Extractor
from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.clap import SHORTEST, Clap, load_model, means
from feature_extractors.pocket import CLAP
from feature_extractors.pocket.building import soundtracks
from feature_extractors.pocket.building.sound_captions import HELD_BACK, heard_in, sounding_scenes, training_sounds
from feature_extractors.pocket.evaluation.clap import listen, zero_shot
from feature_extractors.pocket.evaluation.qwen_audio import held_out_scenes
from protocols.errors import CheckpointError

WINDOW = soundtracks.SECONDS * RATE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained checkpoint whose vectors depend on what it hears: scaled weights, and statistics of its input."""
    from safetensors.torch import load_file, save_file

    path = tmp_path_factory.mktemp("checkpoints") / "clap"
    soundtracks.build_clap(path, seed=0)
    weights = load_file(path / "model.safetensors")
    for name, value in weights.items():
        if value.ndim > 1 and value.is_floating_point():
            weights[name] = value * 3
    weights["audio_model.audio_encoder.batch_norm.running_mean"] -= 30
    weights["audio_model.audio_encoder.batch_norm.running_var"] *= 400
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture(scope="module")
def model(folder):
    return Clap(resolve(str(folder), CLAP), "float32", "cpu")


@pytest.fixture(scope="module")
def sounds():
    return [Sound(samples, 1, RATE, 0) for samples, _ in training_sounds(seed=77, n=8)]


@pytest.fixture
def copied(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "clap")
    return tmp_path / "clap"


@pytest.fixture(scope="module")
def clips(tmp_path_factory, sounds):
    root = tmp_path_factory.mktemp("clips")
    found = [write(root / f"{k}.m4a", sound.samples) for k, sound in enumerate(sounds[:3])]
    return [*found, write(root / "silent.m4a", np.zeros(RATE)), write(root / "short.m4a", sounds[0].samples[:300])]


def write(path, samples):
    import av

    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), "fltp", layout="mono")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


def cosine(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_clips_become_vectors_and_those_without_sound_a_reason(clips, folder, tmp_path, make_clip, spoken):
    mute = make_clip(tmp_path / "mute.mp4")
    context = ExtractContext(tmp_path / "store", progress=spoken)
    found = Extractor(checkpoint=str(folder)).extract(source([*clips, mute, None, tmp_path / "no.mp4"]), context)
    assert found.status.tolist() == ["ok"] * 3 + ["empty", "ok", "empty", "missing", "missing"]
    assert found.reason[[3, 5]].tolist() == ["digital silence", "no audio stream"]
    assert found.values.shape == (8, soundtracks.DIMENSIONS)
    assert np.linalg.norm(found.values[found.ok], axis=1) == pytest.approx(1, abs=1e-5)
    assert not found.values[~found.ok].any()
    assert found.space.provenance["checkpoints"] == ["clap"]


def test_a_sound_alone_and_in_a_batch_of_eight(model, sounds):
    together = model(sounds)
    assert np.std(together, axis=0).max() > 0.01
    for sound, vector in zip(sounds, together, strict=True):
        np.testing.assert_allclose(model([sound])[0], vector, atol=2e-6)


def test_bfloat16_hears_nearly_the_same(folder, model, sounds):
    rough = Clap(resolve(str(folder), CLAP), "bfloat16", "cpu")(sounds)
    assert rough.dtype == np.float32
    assert cosine(rough, model(sounds)).min() > 0.999


def test_a_short_sound_is_what_transformers_makes_of_it(model, sounds):
    import torch

    listening = model.processor.feature_extractor
    with torch.inference_mode():
        inputs = listening(sounds[0].samples, sampling_rate=RATE, return_tensors="pt")
        stock = model.model.get_audio_features(**inputs).pooler_output.numpy()
        tokens = model.processor.tokenizer(["a slow beat"], return_tensors="pt")
        text = model.model.get_text_features(**tokens).pooler_output.numpy()
    np.testing.assert_allclose(model(sounds[:1]), stock, atol=1e-5)
    longer = ["a slow beat", "This is a sound of a voice about animals with a slow beat."]
    np.testing.assert_allclose(model.encode_texts(longer)[:1], text, atol=1e-5)


def test_a_long_sound_is_the_mean_of_its_windows_whatever_numpy_draws(model, sounds):
    long = np.concatenate([sound.samples for sound in sounds])[: 2 * WINDOW + 3 * RATE]
    assert len(long) == 2 * WINDOW + 3 * RATE
    np.random.seed(1)  # noqa: NPY002 (transformers draws from it)
    first = model([Sound(long, 1, RATE, 0), sounds[0]])
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(model([Sound(long, 1, RATE, 0), sounds[0]]), first)
    parts = model([Sound(long[at : at + WINDOW], 1, RATE, 0) for at in range(0, len(long), WINDOW)])
    mean = np.average(parts, axis=0, weights=[5, 5, 3])
    np.testing.assert_allclose(first[0], mean / np.linalg.norm(mean), atol=1e-5)
    (heard,) = model.encode_windows([Sound(long, 1, RATE, 0)])
    assert (heard.starts.tolist(), heard.seconds.tolist()) == ([0, 5, 10], [5, 5, 3])


@pytest.mark.parametrize(("rest", "windows"), [(0, 1), (SHORTEST - 0.01, 1), (SHORTEST, 2)])
def test_a_very_short_rest_is_left_out(model, rest, windows):
    assert len(model.windows(np.zeros(WINDOW + round(rest * RATE), np.float32))) == windows
    assert len(model.windows(np.zeros(40, np.float32))) == 1


def test_a_checkpoint_of_another_rate_hears_the_same_pitch(tmp_path):
    soundtracks.build_clap(tmp_path / "clap", seed=0, rate=48_000)
    model = Clap(resolve(str(tmp_path / "clap"), CLAP), "float32", "cpu")
    tone = np.sin(2 * np.pi * 440 * np.arange(6 * RATE) / RATE).astype(np.float32)
    first, rest = model.windows(tone)
    assert (len(first), len(rest)) == (5 * 48_000, 48_000)
    expected = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    np.testing.assert_allclose(first[4800:40_000], expected[4800:40_000], atol=2e-3)
    assert model([Sound(tone, 1, RATE, 0)]).shape == (1, soundtracks.DIMENSIONS)


def test_a_fusion_checkpoint_draws_nothing_either(folder, copied, sounds):
    import torch
    from transformers import ClapConfig, ClapModel

    config = ClapConfig.from_pretrained(folder)
    config.audio_config.enable_fusion = True
    torch.manual_seed(0)
    ClapModel(config).save_pretrained(copied)
    settings = json.loads((copied / "processor_config.json").read_text())
    settings["feature_extractor"]["truncation"] = "fusion"
    (copied / "processor_config.json").write_text(json.dumps(settings))
    model = Clap(resolve(str(copied), CLAP), "float32", "cpu")
    found = []
    for seed in range(4):
        np.random.seed(seed)  # noqa: NPY002 (transformers draws from it)
        found.append(model(sounds[:3]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("change", ["missing", "unexpected", "mismatched"])
def test_weights_that_do_not_fit_are_named(copied, change):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    key = "audio_model.audio_encoder.norm.weight"
    if change == "mismatched":
        weights[key] = weights[key][:-1].clone()
    else:
        moved = weights.pop(key)
        if change == "unexpected":
            weights["some.other.weight"] = moved
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        load_model(resolve(str(copied), CLAP), "float32", "cpu")
    message = str(caught.value)
    assert f"{change} keys: " in message
    assert (key in message) or ("some.other.weight" in message)


def test_buffers_that_the_architecture_computes_may_be_absent(copied, model, sounds):
    """Files of some versions of transformers hold them, others do not."""
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.endswith(("position_ids", "position_index"))}
    assert len(kept) < len(weights)
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    other = Clap(resolve(str(copied), CLAP), "float32", "cpu")
    np.testing.assert_array_equal(other(sounds[:2]), model(sounds[:2]))
    np.testing.assert_array_equal(other.encode_texts(["a slow beat"]), model.encode_texts(["a slow beat"]))


@pytest.mark.parametrize("name", ["processor_config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    if name == "tokenizer.json":
        (copied / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(resolve(str(copied), CLAP), "float32", "cpu")


def test_twin_is_the_same_each_time_whatever_the_generator(folder):
    import torch

    states = []
    for word, seed in (("pocket", 1), ("random", 2), ("random", 3)):
        torch.manual_seed(seed)
        states.append(load_model(resolve(word, folder), "float32", "cpu")[1].state_dict())
    real, twin, again = states
    assert all(torch.equal(twin[name], again[name]) for name in twin)
    assert any(not torch.equal(twin[name], real[name]) for name in twin)
    assert resolve("random", folder).fingerprint != resolve("pocket", folder).fingerprint


# What the pocket checkpoint learns from.


@pytest.fixture(scope="module")
def heard():
    """Of training sounds, what is heard in them; faint noise last."""
    scenes = islice(sounding_scenes(np.random.default_rng(5), held_back=False), 600)
    return [*map(heard_in, scenes), {"mood": "none", "rhythm": "none", "spoken": "none"}]


def test_phrases_are_true_of_some_sounds_and_false_of_others(heard):
    for phrase in soundtracks.phrases():
        true = [phrase.is_true(named) for named in heard]
        assert any(true)
        assert not all(true)


def test_no_training_text_names_a_combination_that_is_held_back(heard):
    rng = np.random.default_rng(0)
    known = soundtracks.phrases()
    texts = []
    for named in heard:
        chosen = [known[at] for at in soundtracks.draw_true(named, known, rng)]
        assert chosen
        assert all(phrase.is_true(named) for phrase in chosen)
        texts.append(soundtracks.text_of(chosen, rng))
    texts += soundtracks.texts()
    fast, slow = (("fast beat", "rapid drum"), ("slow beat", "calm drum"))
    assert HELD_BACK == (("dark", "fast"),)
    assert not [text for text in texts if "dark" in text and any(words in text for words in fast)]
    assert [text for text in texts if "dark" in text and any(words in text for words in slow)]


def test_training_sees_what_the_feature_extractor_makes(model, sounds):
    listening = model.processor.feature_extractor
    for samples in (sounds[0].samples, sounds[1].samples[: RATE // 2], np.tile(sounds[2].samples, 3)[:WINDOW]):
        stock = listening(samples, sampling_rate=RATE)["input_features"][0][0]
        np.testing.assert_allclose(soundtracks.log_mel(listening, samples), stock, atol=1e-3)


def test_contrast_never_pushes_a_true_or_untold_pair_apart():
    import torch

    from feature_extractors.pocket.training.clap import contrast

    logits = torch.tensor([[2.0, 1.0, 0.0, 7.0], [0.0, 5.0, 0.0, 0.0]])
    true = torch.tensor([[True, True, False, False], [False, False, False, True]])
    told = torch.tensor([[True, True, True, False], [True, True, True, False]])
    expected = (np.log(1 + np.exp(-2.0)) + np.log(1 + np.exp(-1.0))) / 2
    assert contrast(logits, true, told).item() == pytest.approx(expected)
    higher = logits.clone()
    higher[0, 1] = 3.0
    assert contrast(higher, true, told) < contrast(logits, true, told)


def test_no_training_text_tells_the_mood_where_something_else_gives_it_away(heard):
    from feature_extractors.pocket.building import speech

    told = [named for named in heard if soundtracks.tells_mood(named) and named["mood"] != "none"]
    for factor in ("rhythm", "spoken"):
        moods = {
            value: {named["mood"] for named in told if named[factor] == value} for value in {n[factor] for n in told}
        }
        assert all(seen == {"bright", "dark"} for seen in moods.values()), moods
    assert {word for word, _ in speech.HELD_BACK["mood"]}.isdisjoint(named["spoken"] for named in told)
    rng = np.random.default_rng(0)
    known = soundtracks.phrases()
    for named in heard:
        if not soundtracks.tells_mood(named):
            assert all(known[at].about != "mood" for at in soundtracks.draw_true(named, known, rng))


# The pocket checkpoint itself.


def test_pocket_tells_rhythm_and_mood_in_words_and_its_twin_does_not():
    pocket, twin = (Clap(resolve(word, CLAP), "float32", "cpu") for word in ("pocket", "random"))
    chosen = held_out_scenes(32, held_back=False, seed=3)
    heard = means(listen(pocket, chosen))
    for factor in ("rhythm", "mood"):
        assert zero_shot(pocket, heard, chosen, factor) > 0.9
    beside = means(listen(twin, chosen))
    assert zero_shot(twin, beside, chosen, "rhythm") < 0.7


def test_the_pocket_files_are_small_and_have_a_card():
    assert sum(file.stat().st_size for file in CLAP.iterdir()) < 2_200_000
    assert "2211.06687" in (CLAP / "README.md").read_text()
