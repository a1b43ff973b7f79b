"""Clips and checkpoints made on the spot."""

from fractions import Fraction

import numpy as np
import pytest


def write_clip(
    path,
    seed=0,
    frames=20,
    fps=8,
    size=(64, 64),
    codec="libx264",
    rotation=0,
    times=None,
    audio=False,
    colour=None,
):
    """A block that moves over a plain background; `times` (seconds) makes the frame rate vary."""
    import av

    rng = np.random.default_rng(seed)
    background = np.array(colour if colour is not None else rng.integers(0, 200, 3), dtype=np.uint8)
    block = 255 - background
    width, height = size
    start = rng.integers(0, max(1, width // 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=fps)
        video.width, video.height = width, height
        video.pix_fmt = "yuv420p" if width % 2 == 0 and height % 2 == 0 else "yuv444p"
        video.time_base = Fraction(1, 1000)
        video.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            video.options = {"crf": "20", "preset": "ultrafast"}
        if rotation:
            video.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=16000) if audio else None
        for index in range(frames):
            image = np.empty((height, width, 3), dtype=np.uint8)
            image[:] = background
            at = int(start + index * 2) % max(1, width - 8)
            image[: height // 3, at : at + 8] = block
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round(1000 * (times[index] if times else index / fps))
            frame.time_base = Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None:
            _tone(container, sound, frames / fps)
    return path


def _tone(container, stream, seconds):
    import av

    samples = (3000 * np.sin(np.arange(int(16000 * seconds)) / 20)).astype(np.int16)
    for start in range(0, len(samples) - 1024, 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


@pytest.fixture(scope="session")
def make_clip():
    return write_clip


@pytest.fixture(scope="session")
def make_film():
    """A function that writes given pictures, uint8 [N, H, W, 3], as an mp4."""

    def make(path, pictures, fps=8):
        import av

        with av.open(str(path), "w") as container:
            video = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "yuv420p"
            for picture in pictures:
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(video.encode())
        return path

    return make


@pytest.fixture(scope="session")
def make_sound():
    """An mp4 with sound and no picture."""

    def make(path):
        import av

        with av.open(str(path), "w") as container:
            _tone(container, container.add_stream("aac", rate=16000), 1.0)
        return path

    return make


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """Untrained captioner and text encoder; weights scaled up so that what they say depends on what they see."""
    from safetensors.torch import load_file, save_file

    from feature_extractors.pocket.building.qwen_vl import build_captioner, build_text_encoder

    root = tmp_path_factory.mktemp("checkpoints")
    build_captioner(root / "captioner", seed=0)
    build_text_encoder(root / "text_encoder", seed=0)
    path = root / "captioner" / "model.safetensors"
    weights = {name: w * 6 if w.ndim > 1 else w for name, w in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return root


@pytest.fixture
def copied(untrained, tmp_path):
    """The same two checkpoints, to be changed."""
    import shutil

    shutil.copytree(untrained, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture(scope="session")
def small_pool():
    """Training clips of the models that see, fewer than a chunk: 120 of 16 frames."""
    from feature_extractors.pocket.building.clip_pool import Pool, _as_seen, training_scenes
    from feature_extractors.pocket.building.corpus import ATTRIBUTES
    from protocols.datasets.demo.scene import named_attributes

    rng = np.random.default_rng(0)
    scenes = training_scenes(seed=77, chunk=0, n=120)
    frames = np.stack([_as_seen(scene, rng, 16) for scene in scenes])
    named = [named_attributes(scene) for scene in scenes]
    labels = np.array([[values.index(one[name]) for name, values in ATTRIBUTES.items()] for one in named])
    return Pool(frames, labels, np.ones(len(scenes), np.float32))


class Reports:
    """Passes on what stages report."""

    def __init__(self):
        self.takers = []

    def __call__(self, report):
        for take in self.takers:
            take(report)


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def context(tmp_path, spoken, reports):
    """A new store, whose stages report."""
    from feature_extractors.base import ExtractContext

    return ExtractContext(tmp_path / "store", progress=spoken, report=reports)


@pytest.fixture
def note_stages(reports):
    """A function that notes something of each stage that had something to do: of its name and its number of items."""

    def start(what):
        notes = []
        reports.takers.append(lambda report: report.rows and notes.append(what(report.name, report.rows)))
        return notes

    return start
