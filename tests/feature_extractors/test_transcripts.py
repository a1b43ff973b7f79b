"""Transcripts: what is said, what is only invented, and what is listened to again when something changes."""

import json
import os
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from feature_extractors.base import ItemSource
from feature_extractors.media.audio import RATE, Listening, Sound, read_audio
from feature_extractors.models import whisper as backbone
from feature_extractors.models.whisper import Transcriber, Window, parse, resolve
from feature_extractors.pocket import TEXT_ENCODER, WHISPER
from feature_extractors.pocket.building import speech
from feature_extractors.pocket.evaluation.whisper import held_out_scenes, no_speech, right, transcribe
from feature_extractors.transcripts import Speech, Transcripts
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import render_audio
from protocols.errors import CheckpointError, UserError


@pytest.fixture(scope="module")
def scenes():
    return [*held_out_scenes("spoken", 6, seed=3), *held_out_scenes("music alone", 2, seed=3)]


@pytest.fixture(scope="module")
def sounds(scenes):
    return [Sound(speech.through_aac(render_audio(scene)), 1, RATE, 0) for scene in scenes]


@pytest.fixture(scope="module")
def clips(tmp_path_factory, scenes):
    root = tmp_path_factory.mktemp("clips")
    silent = replace(scenes[0], mood="none", rhythm="none", spoken="")
    paths = [root / f"{k}.mp4" for k in range(len(scenes) + 1)]
    for path, scene in zip(paths, [*scenes, silent], strict=True):
        path.write_bytes(encode(scene))
    return paths


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber(resolve("pocket", WHISPER), "float32", "cpu")


@pytest.fixture
def loads(note_stages):
    """Names the stages that had something to do."""
    return note_stages(lambda name, items: name.split(".")[1])


POCKET = Transcripts(checkpoint="pocket", text_encoder="pocket")


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


def test_words_become_text_and_vectors_and_what_is_invented_does_not(
    clips, scenes, context, loads, tmp_path, make_clip
):
    mute = make_clip(tmp_path / "mute.mp4")
    found = source([*clips, mute, None])
    vectors = POCKET.extract(found, context)
    assert vectors.status.tolist() == ["ok"] * 6 + ["empty"] * 4 + ["missing"]
    assert vectors.reason[6:10].tolist() == ["no speech", "no speech", "digital silence", "no audio stream"]
    assert vectors.values.shape == (11, 128)
    assert not vectors.values[6:].any()
    texts = POCKET.texts(found, context)
    assert [text.lower().strip(".") for text in texts.values[:6]] == [scene.spoken for scene in scenes[:6]]
    assert (vectors.seconds[:6] > texts.seconds[:6]).all()
    windows = POCKET.windows(found, context)
    assert loads == ["windows", "text", "vector"]
    assert texts.space.config["parents"] == [windows.space.id]
    assert vectors.space.config["parents"] == [texts.space.id]
    assert vectors.space.provenance["checkpoints"] == ["pocket", "pocket"]
    # what Whisper invents over music is kept to be looked at, with what gives it away
    (invented,) = parse(windows.values[6])
    assert invented.no_speech > 0.9
    assert POCKET.extract(found, context).digest == vectors.digest
    assert len(loads) == 3


EVERYTHING = ["windows", "text", "vector"]
CHANGES = (
    ({"language": "auto"}, EVERYTHING),
    ({"dtype": "float16"}, EVERYTHING),
    ({"max_seconds": 1.0}, EVERYTHING),
    ({"checkpoint": "random"}, EVERYTHING),
    ({"no_speech": 0.5}, ["text", "vector"]),
    ({"logprob": -2.0}, ["text", "vector"]),
    ({"compression": 1.0}, ["text", "vector"]),
    ({"text_encoder": "random"}, ["vector"]),
    ({"batch": 3}, []),
)


def test_what_a_change_makes_anew(clips, context, loads):
    chosen = source(clips[:2])
    first = POCKET.extract(chosen, context)
    for change, again in CHANGES:
        loads.clear()
        second = replace(POCKET, **change).extract(chosen, context)
        assert loads == again, change
        assert (second.space.id != first.space.id) == bool(again)


def test_random_weights_say_something_else_and_are_not_judged(clips, scenes, context):
    twin = replace(POCKET, checkpoint="random").texts(source(clips), context)
    assert twin.status.tolist() == ["ok"] * 8 + ["empty"]
    assert not any(scene.spoken in text.lower() for scene, text in zip(scenes[:6], twin.values, strict=False))


def test_a_clip_alone_and_in_a_batch_of_eight(transcriber, sounds):
    together = [parse(text)[0] for text in transcriber(sounds)]
    for sound, window in zip(sounds, together, strict=True):
        (alone,) = parse(transcriber([sound])[0])
        assert alone.text == window.text
        assert alone.no_speech == pytest.approx(window.no_speech, abs=2e-3)
        assert alone.logprob == pytest.approx(window.logprob, abs=2e-3)


def test_half_precision_says_the_same(transcriber, sounds):
    half = Transcriber(resolve("pocket", WHISPER), "float16", "cpu")
    for exact, rough in zip(map(parse, transcriber(sounds[5:])), map(parse, half(sounds[5:])), strict=True):
        assert exact[0].text == rough[0].text
        assert exact[0].no_speech == pytest.approx(rough[0].no_speech, abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_long_sounds_are_cut_as_whisper_cuts_them(transcriber, sounds, shift):
    """More than two windows, beside a short clip, against the package's own function for a single sound."""
    gap = np.zeros(int(RATE * (2 + shift)), np.float32)
    long = np.concatenate([np.concatenate([sound.samples, gap]) for sound in [*sounds, *sounds]])
    assert len(long) / RATE > 60
    expected = transcriber.model.transcribe(
        long, temperature=0.0, condition_on_previous_text=False, language="en", fp16=False, no_speech_threshold=None
    )
    found = parse(transcriber([sounds[0], Sound(long, 1, RATE, 0)])[1])
    assert len(found) >= 3
    assert found[1].start > 0
    said = [segment["text"].strip() for segment in expected["segments"]]
    assert " ".join(window.text for window in found if window.text).split() == " ".join(said).split()
    starts = sorted({segment["seek"] / 100 for segment in expected["segments"]})
    assert [window.start for window in found if window.text] == pytest.approx(starts)


@pytest.mark.parametrize("samples", [1, 100, 159, 161, 8000])
def test_sounds_of_almost_nothing(transcriber, samples):
    found = parse(transcriber([Sound(np.full(samples, 0.1, np.float32), 1, RATE, 0)])[0])
    assert len(found) == (samples >= 160)


@pytest.mark.parametrize(
    ("window", "doubt"),
    [
        (Window(0, "Tiger.", 0.05, -0.2, 0.5), ""),
        (Window(0, "Thank you.", 0.61, -0.2, 0.9), "no speech"),
        (Window(0, "", 0.05, -0.2, 0.0), "no words"),
        (Window(0, "la la la la la", 0.05, -0.2, 2.5), "no speech: the words repeat themselves"),
        (Window(0, "mbv", 0.05, -1.1, 0.5), "no speech: unsure of every word"),
    ],
)
def test_what_counts_as_speech(window, doubt):
    assert Speech(0.6, -1.0, 2.4).doubt(window) == doubt
    assert not Speech(1.0, -9.0, 9.0).doubt(replace(window, text="Tiger."))


def test_windows_that_are_no_speech_leave_the_others():
    from feature_extractors.transcripts import _speech

    windows = [Window(0, "Tiger.", 0.0, -0.1, 0.5), Window(30, "Bye.", 0.9, -0.1, 0.5), Window(60, "Café", 0, -0.1, 1)]
    judge = Speech(0.6, -1.0, 2.4)
    assert _speech(judge, [backbone.dump(windows)]) == ["Tiger. Café"]
    assert _speech(None, [backbone.dump(windows)]) == ["Tiger. Bye. Café"]
    (none,) = _speech(judge, [backbone.dump(windows[1:2])])
    assert (none.status, none.reason) == ("empty", "no speech")


@pytest.mark.parametrize(("language", "message"), [("klingon", "knows no language"), ("de", "knows English only")])
def test_languages_that_whisper_or_the_checkpoint_does_not_know(language, message):
    with pytest.raises(UserError, match=message):
        Transcriber(resolve("pocket", WHISPER), "float32", "cpu", language)


# Checkpoints: a directory, a file of openai-whisper, a name of its list.


@pytest.fixture
def folder(tmp_path):
    speech.build_whisper(tmp_path / "whisper", seed=0)
    return tmp_path / "whisper"


@pytest.fixture
def pt(folder):
    """The same weights as openai-whisper saves them."""
    import torch
    from safetensors.torch import load_file

    weights, dims = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    torch.save({"dims": dims, "model_state_dict": weights}, folder / "tiny.pt")
    return folder / "tiny.pt"


def test_a_file_of_openai_whisper_and_a_directory_hold_the_same(folder, pt):
    import torch
    import whisper

    ours = backbone.load_model(resolve(str(folder), WHISPER), "cpu").state_dict()
    file = backbone.load_model(resolve(str(pt), WHISPER), "cpu").state_dict()
    theirs = whisper.load_model(str(pt), device="cpu").state_dict()
    assert ours.keys() == theirs.keys() == file.keys()
    assert all(torch.equal(ours[name], theirs[name]) and torch.equal(ours[name], file[name]) for name in ours)
    before = resolve(str(pt), WHISPER)
    pt.write_bytes(pt.read_bytes() + b"0")
    assert (before.name, resolve(str(pt), WHISPER).fingerprint != before.fingerprint) == ("tiny.pt", True)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"dims": Evil(), "model_state_dict": {}}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"evil\.pt cannot be loaded"):
        backbone.load_model(resolve(str(tmp_path / "evil.pt"), WHISPER), "cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", ["missing", "unexpected", "mismatched"])
def test_weights_that_do_not_fit_are_named(folder, change):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    key = "decoder.blocks.0.mlp.0.weight"
    if change == "mismatched":
        weights[key] = weights[key][:-1].clone()
    else:
        moved = weights.pop(key)
        if change == "unexpected":
            weights["some.other.weight"] = moved
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        backbone.load_model(resolve(str(folder), WHISPER), "cpu")
    assert (f"{change} keys: {key}" in str(caught.value)) or "unexpected keys: some.other.weight" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_or_setting_is_named(folder, name):
    if name == "config.json":
        dims = json.loads((folder / name).read_text())
        del dims["n_mels"]
        (folder / name).write_text(json.dumps(dims))
        with pytest.raises(CheckpointError, match="n_mels"):
            backbone.load_model(resolve(str(folder), WHISPER), "cpu")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        resolve(str(folder), WHISPER)


def test_names_of_the_list_are_fetched_once_and_checked(tmp_path, monkeypatch, pt):
    import hashlib
    import urllib.error
    import urllib.request

    import whisper

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def offline(url):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        resolve("base", WHISPER)
    assert "pocket" in caught.value.remedy
    known = hashlib.sha256(pt.read_bytes()).hexdigest()
    monkeypatch.setitem(whisper._MODELS, "base", f"https://example.org/{known}/base.pt")
    cached = tmp_path / "cache" / "whisper" / "base.pt"
    cached.write_bytes(pt.read_bytes())
    found = resolve("base", WHISPER)
    assert (found.name, found.revision, found.fingerprint) == ("base", known, f"whisper:base@{known}")
    backbone.load_model(found, "cpu")
    cached.write_bytes(b"half a download")
    with pytest.raises(CheckpointError, match="damaged"):
        resolve("base", WHISPER)


@pytest.mark.parametrize("word", ["bse", "openai/whisper-base", "/no/such/folder"])
def test_other_words_are_refused(word):
    with pytest.raises(UserError, match=r"nor a model of openai-whisper") as caught:
        resolve(word, WHISPER)
    assert "tiny.en" in caught.value.remedy


def test_twin_is_the_same_each_time_whatever_the_generator(folder):
    import torch

    states = []
    for word, seed in (("pocket", 1), ("random", 2), ("random", 3)):
        torch.manual_seed(seed)
        states.append(backbone.load_model(resolve(word, folder), "cpu").state_dict())
    real, twin, again = states
    assert all(torch.equal(twin[name], again[name]) for name in twin)
    assert any(not torch.equal(twin[name], real[name]) for name in twin)
    assert all(torch.isfinite(value).all() for value in twin.values())


# The pocket checkpoint and what it was trained on.


def test_pocket_hears_words_and_knows_music(transcriber):
    for kind in ("spoken", "spoken, held-back combinations"):
        held_out = held_out_scenes(kind, 16, seed=5)
        windows = transcribe(transcriber, held_out)
        assert right(windows, held_out).mean() > 0.8  # chance is 1/16
        assert no_speech(windows).mean() < 0.1
    assert no_speech(transcribe(transcriber, held_out_scenes("music alone", 8, seed=5))).mean() > 0.9


def test_no_training_sound_has_a_held_back_combination():
    rng = np.random.default_rng(0)
    chosen = list(islice(speech.speaking_scenes(rng, held_back=False), 400))
    pairs = {(scene.spoken, getattr(scene, factor)) for scene in chosen for factor in ("mood", "rhythm")}
    assert not pairs & {pair for kind in speech.HELD_BACK.values() for pair in kind}
    assert {word for word, _ in pairs} == set(speech.SPOKEN)
    assert all(map(speech.is_held_back, islice(speech.speaking_scenes(rng, held_back=True), 50)))


def test_training_sounds_say_where_their_word_is():
    mixes = list(speech.training_mixes(seed=99, n=40))
    spoken = [mix for mix in mixes if mix.word]
    assert 15 < len(spoken) < 35
    for mix in spoken:
        assert 0 <= mix.start < mix.end <= len(mix.samples) / RATE + 0.1
    assert len({round(mix.start, 2) for mix in spoken}) > 5


def test_what_training_computes_is_what_the_stock_model_computes():
    """With every position of the padding drawn, and the shared row counted as often as it stands."""
    import math

    import torch
    from whisper.model import ModelDimensions, Whisper
    from whisper.tokenizer import get_tokenizer

    from feature_extractors.pocket.training import whisper as training

    torch.manual_seed(0)
    dims = ModelDimensions(**speech.dimensions())
    used = speech.used_tokens(get_tokenizer(False))
    small = Whisper(replace(dims, n_vocab=len(used) + 1))
    backbone.draw_weights(small)
    whole = Whisper(dims)
    name = "decoder.token_embedding.weight"
    rows = small.state_dict()
    whole.load_state_dict({**rows, name: speech.spread(rows[name], used, dims.n_vocab)})
    mix = next(mix for mix in speech.training_mixes(seed=98, n=20) if mix.word)
    tokens = [50257, *speech.tokens_of(mix, get_tokenizer(False))]
    with torch.inference_mode():
        mel = speech.log_mel(mix.samples)[None]
        heard, bias = training.encode(small, mel, torch.arange(training.HEARD, dims.n_audio_ctx))
        places = torch.tensor([[used.index(token) for token in tokens]])
        logits = training.decode(small, places, heard, bias)
        logits[..., -1] += math.log(dims.n_vocab - len(used))
        ours = logits.log_softmax(-1)[0, :, : len(used)]
        full = torch.nn.functional.pad(mel, (0, 3000 - speech.FRAMES), value=float(mel.min()))
        stock = whole(full, torch.tensor([tokens])).log_softmax(-1)[0][:, used]
    torch.testing.assert_close(ours, stock, atol=2e-4, rtol=0)


def test_the_sound_of_a_clip_is_that_of_training(clips, sounds):
    found = read_audio(clips[0], Listening().seconds)
    assert len(found.samples) == pytest.approx(len(sounds[0].samples), abs=2048)
    assert np.corrcoef(found.samples[:16000], sounds[0].samples[:16000])[0, 1] > 0.99


def test_the_pocket_files_are_small_and_have_a_card():
    assert sum(file.stat().st_size for file in WHISPER.iterdir()) < 6_000_000
    assert "2212.04356" in (WHISPER / "README.md").read_text()
    assert TEXT_ENCODER.is_dir()
