"""Contract of every registered extractor: batches, swaps, failures, checkpoints and keys.

A new extractor is tested here as soon as it has an entry point. `CHANGES` needs an entry for an option whose value the
suite cannot make up; an option that is no cause of other features stands in `NO_CAUSE`.
"""

import typing
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

from bench import registry
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.real_defaults import settled
from protocols.datasets.demo.factors import sample_scene
from protocols.datasets.demo.media import encode
from protocols.errors import UserError
from protocols.features import STATUSES

ITEMS = ["a", "b", "c", "broken", "gone", "no file"]
GOOD = 3
TITLES = ["a red ring by the sea", "two blue stars", "the word jazz", "x", None, None]
ARGUMENTS = {
    "concat": "concat:titles+truth",
    "mean": "mean:titles",
    "published": "published:{}/vectors.npy",
    "published-texts": "published-texts:{}/texts.csv",
    "shuffled": "shuffled:titles",
    "single-layer": "single-layer:1",
}
# Options that make texts short and frames few: the suite is about wiring.
SHORT = {"max_new_tokens": 4, "audio_max_new_tokens": 4, "summary_tokens": 4, "new_tokens": 2}
# Other values of options, of all extractors or of one.
CHANGES = {
    "audio_engine": "vllm",
    "audio_prompt": "describe",
    "begin": "It is",
    "classes": "{}/classes.txt",
    "engine": "vllm",  # a server has no pocket checkpoint (test_served.py)
    "frame_clip": None,
    "frames": "uniform:3",
    "id_column": None,
    "instruction": "Describe it.",
    "ids": None,
    "language": "de",
    "max_pixels": "4096",
    "max_seconds": 1.0,
    "min_pixels": "64",
    "piece_prompt": "describe-omni",
    "prompt": "describe-omni",
    "chain-captions.prompt": "{}/prompt.txt",
    "split": None,
    "template": "{{}}",
    "text_column": None,
    "text_prompt": "passage: ",
    "vector_column": None,
    "omni-captions.prompt": "describe",
    "video-encoder.frames": "first:1s/16",
    "videomae.frames": "first:1s/16",
}
# Batches and revisions of checkpoints that are on disk; quantized weights need a GPU; `frame_clip` selects no frame
# unless `frames` says so (test_frame_selection.py); a layer is taken out of stored states; the pocket model of
# `video-embedding` takes no sound (test_video_embedding.py).
NO_CAUSE = {"batch", "revision", "text_revision", "audio_revision", "quantize", "variant", "layer", "readout", "sound"}
# Where a server is and how it is asked; a server that encodes texts has no pocket checkpoint (test_served.py).
NO_CAUSE |= {"endpoint", "audio_endpoint", "text_endpoint", "in_flight", "timeout", "retries", "text_engine"}
# Decides something together with another option alone.
WITH = {
    "linkedout.longest_title": {"title": True},
    "linkedout.longest_transcript": {"transcript": True},
    "linkedout.whisper": {"transcript": True},
    "linkedout.language": {"transcript": True},
    "frames_as": {"engine": "vllm"},
}
# Values that make no sense.
WRONG = {
    **dict.fromkeys(("batch", "max_new_tokens", "audio_max_new_tokens", "summary_tokens", "longest", "top", "dim"), 0),
    **dict.fromkeys(("longest_title", "longest_transcript"), 0),
    **dict.fromkeys(("new_tokens", "visual_parts", "new_parts"), -1),
    **dict.fromkeys(("max_seconds", "piece", "timeout"), 0.0),
    "in_flight": 0,
    "retries": -1,
}
WORDS = ("checkpoint", "text_encoder", "whisper", "clap", "audio_checkpoint")
TOLERANCE = {"vector": {"atol": 2e-5}, "layers": {"atol": 2e-3, "rtol": 2e-3}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three clips of the demo with speech, one damaged; vectors, texts and a list of sounds."""
    root = tmp_path_factory.mktemp("contract")
    drawn = (sample_scene(np.random.default_rng(seed)) for seed in range(100))
    spoken = (scene for scene in drawn if scene.spoken)
    for item, scene in zip(ITEMS[:GOOD], spoken, strict=False):
        (root / f"{item}.mp4").write_bytes(encode(scene))
    (root / "broken.mp4").write_bytes((root / "a.mp4").read_bytes()[:300])
    np.save(root / "vectors.npy", np.eye(4, dtype=np.float32)[:GOOD])
    (root / "vectors.ids.txt").write_text("\n".join(ITEMS[:GOOD]))
    (root / "texts.csv").write_text("item_id,text\na,one\nb,two\nc,three\n")
    (root / "prompt.txt").write_text("{captions}")
    (root / "classes.txt").write_text("a slow beat\na fast beat\n")
    return root


@pytest.fixture(scope="module")
def make(folder):
    """A function that makes an extractor with pocket checkpoints and short texts."""

    def create(name, **options):
        spec = ARGUMENTS.get(name, name).format(folder)
        extractor = settled(registry.create("extractor", spec, {}).resolved(simulated=True))
        known = {field.name for field in fields(extractor)}
        # a JSON object that ends early is none, and audio captions begin alike
        short = {} if name in ("structured-captions", "audio-captions") else SHORT
        return replace(extractor, **{k: v for k, v in {**short, **options}.items() if k in known})

    return create


def source(folder, order=ITEMS):
    """Items with the clip, the title and the gold description of the item that `order` has in their place."""
    videos = {item: folder / f"{item}.mp4" for item in ITEMS[:-1]}
    titles = dict(zip(ITEMS, TITLES, strict=True))
    gold = {item: title for item, title in titles.items() if title}
    return ItemSource(
        ITEMS,
        [titles[item] for item in order],
        [videos.get(item) for item in order],
        lambda: {item: gold[other] for item, other in zip(ITEMS, order, strict=True) if other in gold},
    )


@pytest.fixture(scope="module")
def extracted(folder, make):
    """A function that extracts with one extractor: all items in a batch; swapped two by two, each item alone."""

    @cache
    def run(name):
        together = make(name).extract(source(folder), ExtractContext(folder / "together"))
        order = ["b", "a", *ITEMS[2:]]
        context = ExtractContext(folder / "alone")
        return together, make(name, batch=1).extract(source(folder, order), context)

    return run


def from_items(name):
    """True if an extractor's features are those of clips or titles."""
    return name not in ("id", "random", "published", "published-texts")


NAMES = sorted(name for name in registry.names("extractor") if name != "id")


@pytest.mark.parametrize("name", NAMES)
def test_swapped_clips_swap_features_and_a_batch_gives_what_each_clip_gives_alone(extracted, name):
    together, alone = extracted(name)
    assert together.space.id == alone.space.id
    assert together.ok[:GOOD].all()
    order = [1, 0, *range(2, len(ITEMS))] if from_items(name) else list(range(len(ITEMS)))
    assert alone.status[order].tolist() == together.status.tolist()
    if together.space.kind == "text":
        assert alone.values[order].tolist() == together.values.tolist()
        return
    found = [one.values.astype(np.float32) for one in (together, alone)]
    np.testing.assert_allclose(found[1][order], found[0], **TOLERANCE[together.space.kind])
    assert len(np.unique(found[0][:GOOD].reshape(GOOD, -1).round(4), axis=0)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_failures_are_rows_with_a_reason_and_no_value(extracted, name):
    together, _ = extracted(name)
    assert list(together.item_ids) == ITEMS
    assert set(together.status) <= set(STATUSES)
    assert all(together.reason[~together.ok])
    assert not np.any(together.values[~together.ok].astype(bool))
    if name != "random":
        assert not together.ok[-2:].any()


@pytest.mark.parametrize("name", NAMES)
def test_auto_is_pocket_on_simulated_data_and_a_named_checkpoint_on_real_data(make, folder, name):
    extractor = registry.create("extractor", ARGUMENTS.get(name, name).format(folder), {})
    words = [field.name for field in fields(extractor) if field.name in WORDS]
    simulated, real = extractor.resolved(simulated=True), extractor.resolved(simulated=False)
    for word in words:
        assert getattr(extractor, word) == "auto"
        assert getattr(simulated, word) == "pocket"
        # `linkedout` has transcripts only where they are asked for
        assert getattr(real, word) in (*(extractor.checkpoints or ["BAAI/bge-large-en-v1.5"]), "base")
        for chosen in ("random", "pocket"):
            assert getattr(replace(extractor, **{word: chosen}).resolved(simulated=False), word) == chosen


def space_id(extractor, folder):
    """Id of the space that an extractor fills, nothing extracted."""
    run = getattr(extractor, "states", extractor.extract)
    return run(source(folder), ExtractContext(folder / "empty", overwrite="never")).space.id


def changed(extractor, field, folder):
    """Another value of an option; None: there is none."""
    value, hint = getattr(extractor, field), typing.get_type_hints(type(extractor))[field]
    for key in (f"{extractor.name}.{field}", field):
        if key in CHANGES:
            return CHANGES[key].format(folder) if isinstance(CHANGES[key], str) else CHANGES[key]
    if field in WORDS:
        return "random"
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice not in (value, "auto"))
    if isinstance(value, bool):
        return not value
    assert isinstance(value, int | float), f"CHANGES needs another value of {extractor.name}.{field}"
    return value + 1 if isinstance(value, int) else value / 2


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("shuffled", "mean", "concat")])
def test_the_key_changes_with_every_option_that_decides_a_feature(make, folder, name):
    extractor = make(name)
    known = {}
    for field in (
        field.name for field in fields(extractor) if field.init and field.name not in ("path", "variant", "inner")
    ):
        base = replace(extractor, **WITH.get(f"{name}.{field}", WITH.get(field, {})))
        if field in NO_CAUSE:
            other = replace(base, batch=base.batch + 1) if field == "batch" else base
        elif (value := changed(base, field, folder)) is None:
            continue
        else:
            other = replace(base, **{field: value})
        known[field] = space_id(other, folder) != space_id(base, folder)
    assert known == {field: field not in NO_CAUSE for field in known}


@pytest.mark.parametrize("name", NAMES)
def test_options_that_make_no_sense_are_refused_by_name(make, name):
    extractor = make(name)
    for field in {field.name for field in fields(extractor)} & set(WRONG):
        with pytest.raises(UserError, match=rf"{field.removeprefix('audio_')}={WRONG[field]}"):
            replace(extractor, **{field: WRONG[field]})
