"""One cause at a time: what a change makes anew in the captions chain, in stages and in items that models see."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_extractors import captions as module
from feature_extractors.base import ItemSource
from feature_extractors.captions import Captions
from feature_extractors.media import video
from feature_extractors.models import text_encoder, video_captioner

BATCH, COUNT = 3, 7


@pytest.fixture(scope="module")
def originals(tmp_path_factory, make_clip):
    root = tmp_path_factory.mktemp("clips")
    return [make_clip(root / f"{seed}.mp4", seed=seed) for seed in range(COUNT)]


class Ran:
    """Calls counted: stages with their items, clips that were captioned, texts that were encoded."""

    def __init__(self):
        self.stages, self.captioned, self.encoded = [], 0, 0

    def taken(self):
        found = dict(self.stages), self.captioned, self.encoded
        self.__init__()
        return found


@pytest.fixture
def ran(monkeypatch, reports):
    found = Ran()
    run, encode = video_captioner.Captioner.run, text_encoder.TextEncoder.__call__
    reports.takers.append(lambda report: found.stages.append((report.name.partition(".")[2], report.rows)))

    def captioning(self, prepared):
        found.captioned += sum(len(places) for places, _ in prepared)
        return run(self, prepared)

    def encoding(self, texts):
        found.encoded += len(texts)
        return encode(self, texts)

    monkeypatch.setattr(video_captioner.Captioner, "run", captioning)
    monkeypatch.setattr(text_encoder.TextEncoder, "__call__", encoding)
    return found


@pytest.fixture
def chain(copied, originals, tmp_path, context):
    """An extractor with checkpoints, prompt and clips of its own, and everything extracted once."""
    clips = [Path(shutil.copy(clip, tmp_path)) for clip in originals]
    (tmp_path / "prompt.txt").write_text("Describe this video.")
    extractor = Captions(
        checkpoint=str(copied / "captioner"),
        text_encoder=str(copied / "text_encoder"),
        prompt=str(tmp_path / "prompt.txt"),
        max_new_tokens=8,
        batch=BATCH,
    )
    source = ItemSource([f"item{k}" for k in range(COUNT)], [None] * COUNT, clips)
    return extractor, source, context


EVERYTHING = ({"text": COUNT, "vector": COUNT}, COUNT, COUNT)
VECTORS = ({"vector": COUNT}, 0, COUNT)
NOTHING: tuple = ({}, 0, 0)


def flip_last_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(bytes(data))


def prompt(extractor, source, monkeypatch):
    Path(extractor.prompt).write_text("What do you see?")


def frame_policy(extractor, source, monkeypatch):
    return replace(extractor, frames="uniform:4")


def end_of_clips(extractor, source, monkeypatch):
    return replace(extractor, max_seconds=1.0)


def shorter_captions(extractor, source, monkeypatch):
    return replace(extractor, max_new_tokens=5)


def captioner_bytes(extractor, source, monkeypatch):
    flip_last_byte(Path(extractor.checkpoint) / "model.safetensors")


def captioner_settings(extractor, source, monkeypatch):
    path = Path(extractor.checkpoint) / "generation_config.json"
    path.write_text(path.read_text().replace("{", '{"note": 1, ', 1))


def encoder_bytes(extractor, source, monkeypatch):
    flip_last_byte(Path(extractor.text_encoder) / "model.safetensors")


def dtype(extractor, source, monkeypatch):
    return replace(extractor, dtype="bfloat16")


def chain_version(extractor, source, monkeypatch):
    monkeypatch.setattr(module.Captions, "code_version", Captions.code_version + 1)


def loader_version(extractor, source, monkeypatch):
    monkeypatch.setattr(video_captioner, "VERSION", video_captioner.VERSION + 1)


def decoder_version(extractor, source, monkeypatch):
    monkeypatch.setattr(video, "DECODING_VERSION", video.DECODING_VERSION + 1)


def encoder_version(extractor, source, monkeypatch):
    monkeypatch.setattr(text_encoder, "VERSION", text_encoder.VERSION + 1)


CAUSES = [
    (prompt, EVERYTHING),
    (frame_policy, EVERYTHING),
    (end_of_clips, EVERYTHING),
    (shorter_captions, EVERYTHING),
    (captioner_bytes, EVERYTHING),
    (captioner_settings, EVERYTHING),
    (dtype, EVERYTHING),
    (chain_version, EVERYTHING),
    (loader_version, EVERYTHING),
    (decoder_version, EVERYTHING),
    (encoder_bytes, VECTORS),
    (encoder_version, VECTORS),
]


@pytest.mark.parametrize(("cause", "expected"), CAUSES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_cause_makes_anew_what_it_must_and_nothing_else(chain, ran, monkeypatch, cause, expected):
    extractor, source, context = chain
    before = extractor.extract(source, context)
    assert ran.taken() == EVERYTHING
    changed = cause(extractor, source, monkeypatch) or extractor
    after = changed.extract(source, context)
    assert ran.taken() == expected
    assert after.space.id != before.space.id
    assert after.ok.all()
    assert changed.extract(source, context).digest == after.digest
    assert ran.taken() == NOTHING


def test_other_bytes_of_one_clip_make_its_batch_anew_and_other_texts_theirs(chain, ran, make_clip):
    extractor, source, context = chain
    before = extractor.texts(source, context), extractor.extract(source, context)
    ran.taken()
    make_clip(source.videos[4], seed=77)
    after = extractor.texts(source, context), extractor.extract(source, context)
    # items 3, 4, 5 are a batch; only what they say now is encoded, with the batch it is in
    assert ran.taken() == ({"text": BATCH, "vector": COUNT}, BATCH, COUNT)
    others = [0, 1, 2, 3, 5, 6]
    assert [s.space.id for s in before] == [s.space.id for s in after]
    assert before[0].values[others].tolist() == after[0].values[others].tolist()
    np.testing.assert_allclose(before[1].values[others], after[1].values[others], atol=1e-5)
    assert before[0].values[4] != after[0].values[4]


@pytest.mark.parametrize("change", ["batch", "name", "time", "workers", "threads", "title"])
def test_what_decides_nothing_makes_nothing_anew(chain, ran, change):
    extractor, source, context = chain
    before = extractor.extract(source, context)
    ran.taken()
    if change == "batch":
        extractor = replace(extractor, batch=5)
    elif change == "name":
        source = replace(source, videos=[path.rename(path.with_suffix(".mov")) for path in source.videos])
    elif change == "time":
        for path in (*source.videos, Path(extractor.checkpoint) / "model.safetensors"):
            path.touch()
    elif change == "title":
        source = replace(source, titles=["a title"] * COUNT)
    else:
        context = replace(context, **{change: 2})
    assert extractor.extract(source, context).digest == before.digest
    assert ran.taken() == NOTHING
