"""Contract of every extractor that reads media: what two clips differ in is in their features.

Clips of one scene, each with one thing changed: colour, sound, rate of frames, number of frames, shape, size. A new
extractor is tested here as soon as it has an entry point: with a frame policy it reads frames, else sound.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bench import registry
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.options import DurationOption, FrameOptions, TextEncoderOptions
from protocols.datasets.demo.factors import Scene
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import render_frames

ARGUMENTS = {"single-layer": "single-layer:2"}
READERS = {name: registry.load("extractor", name) for name in registry.names("extractor")}
READERS = {name: kind for name, kind in READERS.items() if issubclass(kind, DurationOption)}
# `chain-captions` cuts clips into pieces in place of a frame policy.
READ_FRAMES = {name for name, kind in READERS.items() if issubclass(kind, FrameOptions)} | {"chain-captions"}
# What reads sound with the checkpoints of simulated data, beside the extractors of sound alone.
READ_SOUND = {*(READERS.keys() - READ_FRAMES), "av-captions", "omni-captions"}
# Models that place frames in time. A text need not say so; other models take frames alone.
READ_TIMES = {"hidden-states", "one-word", "single-layer", "video-embedding"}
FRAMES_ALONE = {name for name in READ_FRAMES - READ_TIMES if not issubclass(READERS[name], TextEncoderOptions)}
# Models that write long texts.
HEAVY = {"audio-captions", "av-captions", "chain-captions", "linkedout", "omni-captions", "structured-captions"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in HEAVY)) for name in sorted(READERS)]

RED = Scene(
    frames=24, count="two", colour="red", shape="cross", motion="down", setting="sea", word="", texture="plain",
    speed=0.5, size=0.8, camera="static", palette="vivid", rhythm="fast", mood="bright", spoken="thunder",
    phase_x=0.3, phase_y=0.3, shift=0.5, light=0.5, pitch=0.5,
)  # fmt: skip
SCENES = {
    "red": RED,
    "blue": replace(RED, colour="blue"),
    "other sound": replace(RED, rhythm="slow", mood="dark", spoken="rabbit"),
    "silent": replace(RED, rhythm="none", mood="none", spoken=""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_film):
    """The clips, files of one to 24 frames."""
    root = tmp_path_factory.mktemp("media")
    for name, scene in SCENES.items():
        (root / f"{name}.mp4").write_bytes(encode(scene))
    pictures = render_frames(RED, 112)
    shapes = {"landscape": pictures[:, 24:88], "portrait": pictures[:, 24:88].transpose(0, 2, 1, 3)}
    parts = {"1 frame": pictures[:1], "5 frames": pictures[::5]}
    for name, frames in {**shapes, **parts}.items():
        make_film(root / f"{name}.mp4", np.ascontiguousarray(frames))
    for rate in (1, 30):
        retimed(root / "landscape.mp4", root / f"{rate} fps.mp4", rate)
    return root


def retimed(source, target, rate):
    """Write the very pictures of a film at another rate."""
    from fractions import Fraction

    import av

    with av.open(str(source)) as film, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        packets = [packet for packet in film.demux(video=0) if packet.size]
        order = {pts: at for at, pts in enumerate(sorted(packet.pts for packet in packets))}
        for at, packet in enumerate(packets):
            packet.stream, packet.time_base, packet.duration = stream, Fraction(1, rate), 1
            packet.pts, packet.dts = order[packet.pts], at - 3
            copy.mux(packet)


@pytest.fixture(scope="module")
def extracted(folder):
    """A function that extracts all clips, by their names; stages that extractors share are stored once."""

    @cache
    def run(name, clips=None):
        extractor = registry.create("extractor", ARGUMENTS.get(name, name), {}).resolved(simulated=True)
        items = clips or tuple(sorted(path.stem for path in folder.glob("*.mp4")))
        source = ItemSource(list(items), ["a clip"] * len(items), [folder / f"{item}.mp4" for item in items])
        found = extractor.extract(source, ExtractContext(folder / "store"))
        return dict(zip(items, found.values.astype(np.float32), strict=True)), dict(
            zip(items, found.status, strict=True)
        )

    return run


def differ(one, other):
    return bool(np.abs(one - other).max() > 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_red_clip_differs_from_a_blue_one_where_frames_are_read(extracted, name):
    values, _ = extracted(name)
    assert differ(values["red"], values["blue"]) == (name in READ_FRAMES)


# The summary of `chain-captions` need not say what was spoken.
@pytest.mark.parametrize("name", [one for one in NAMES if one.values[0] != "chain-captions"])
def test_another_sound_and_silence_differ_where_sound_is_read(extracted, name):
    values, status = extracted(name)
    assert differ(values["red"], values["other sound"]) == (name in READ_SOUND)
    if name in READ_FRAMES:
        assert status["silent"] == "ok"
        assert differ(values["red"], values["silent"]) == (name in READ_SOUND)
    else:
        assert status["silent"] == "empty"


@pytest.mark.parametrize("name", [one for one in NAMES if one.values[0] in READ_FRAMES])
def test_the_same_frames_at_another_rate_differ_where_the_model_reads_times(extracted, name):
    values, status = extracted(name)
    assert status["1 fps"] == status["30 fps"] == "ok"
    if name in READ_TIMES | FRAMES_ALONE:
        assert differ(values["1 fps"], values["30 fps"]) == (name in READ_TIMES)


@pytest.mark.parametrize("name", [one for one in NAMES if one.values[0] in READ_FRAMES])
def test_clips_of_one_frame_of_five_and_of_any_shape_have_features_of_their_own(extracted, name):
    values, status = extracted(name)
    odd = ("1 frame", "5 frames", "landscape", "portrait")
    assert [status[clip] for clip in odd] == ["ok"] * len(odd)
    if name in READ_TIMES | FRAMES_ALONE:
        assert differ(values["1 frame"], values["5 frames"])
        assert differ(values["landscape"], values["portrait"])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(READ_FRAMES))
def test_red_and_blue_differ_in_4k_too(folder, extracted, make_film, name):
    for colour in ("red", "blue"):
        path = folder / f"4k {colour}.mp4"
        if not path.exists():
            frames = render_frames(SCENES[colour], 112)[:6, 24:87]
            make_film(path, frames.repeat(34, axis=1).repeat(34, axis=2)[:, :2142, :3808])
    values, status = extracted(name, ("4k blue", "4k red"))
    assert set(status.values()) == {"ok"}
    assert differ(values["4k red"], values["4k blue"])
