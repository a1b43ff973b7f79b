"""Training clips of the models that see: rendered with seeds of their own, some of them through a real H.264 file."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from feature_extractors.pocket.building.corpus import ATTRIBUTES
from feature_extractors.pocket.building.qwen_vl import FRAMES, PIXELS
from protocols.atomic_write import write_atomically
from protocols.datasets.demo.scene import FPS, Scene, named_attributes, render_frames, sample_scene

#: Streams of random numbers start from [this, seed, chunk]; the demo's world starts from other entropy.
ENTROPY = 0x90CE7
CHUNK = 250
#: Share of the clips that go through a real encoder; the others only lose half of their colour resolution.
H264_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Pool:
    """Rendered clips, resized to 48 x 48 pixels as the processor does.

    Attributes
    ----------
    frames
        uint8 [n, T, 48, 48, 3].
    labels
        int64 [n, 6]: index of the value of each of `ATTRIBUTES`.
    seconds
        float32 [n]: seconds from one frame to the next.
    """

    frames: np.ndarray
    labels: np.ndarray
    seconds: np.ndarray

    def named(self, i: int) -> dict[str, str]:
        """Return the named attributes of clip `i`."""
        return {a: values[k] for (a, values), k in zip(ATTRIBUTES.items(), self.labels[i], strict=True)}


def training_scenes(seed: int, chunk: int, n: int = CHUNK) -> list[Scene]:
    """Draw the scenes of one chunk of a pool; none shows a held-back combination."""
    rng = np.random.default_rng([ENTROPY, seed, chunk])
    return [sample_scene(rng, held_back=False) for _ in range(n)]


def make_pool(folder: Path, chunks: int, seed: int, processes: int = 2, frames: int = FRAMES) -> Pool:
    """Render `chunks` times 250 clips, or return what an earlier call with the same arguments left in `folder`.

    Parameters
    ----------
    frames
        T, of each clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [chunk for chunk in range(chunks) if not _path(folder, seed, frames, chunk).exists()]
    if missing:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            list(workers.map(partial(_render_chunk, folder, seed, frames), missing))
    parts = [np.load(_path(folder, seed, frames, chunk)) for chunk in range(chunks)]
    return Pool(*(np.concatenate([part[name] for part in parts]) for name in ("frames", "labels", "seconds")))


def _path(folder: Path, seed: int, frames: int, chunk: int) -> Path:
    shape = f"{PIXELS}" if frames == FRAMES else f"{frames}x{PIXELS}"
    return folder / f"pool-{shape}-{seed}-{chunk}.npz"


def _render_chunk(folder: Path, seed: int, count: int, chunk: int) -> None:
    path = _path(folder, seed, count, chunk)
    rng = np.random.default_rng([ENTROPY, seed, chunk, 1])
    scenes = training_scenes(seed, chunk)
    frames = np.stack([_as_seen(scene, rng, count) for scene in scenes])
    named = [named_attributes(scene) for scene in scenes]
    labels = np.array([[values.index(n[a]) for a, values in ATTRIBUTES.items()] for n in named], dtype=np.int64)
    seconds = np.array([scene.seconds / count for scene in scenes], dtype=np.float32)

    def save(part: Path) -> None:
        with part.open("wb") as file:  # given a path, numpy appends .npz to its name
            np.savez(file, frames=frames, labels=labels, seconds=seconds)

    write_atomically(path, save)


def _as_seen(scene: Scene, rng: np.random.Generator, count: int) -> np.ndarray:
    """Render, degrade, choose the middle frames of `count` equal parts and resize as the video processor does."""
    frames = render_frames(scene)
    compressed = rng.random() < H264_SHARE
    if compressed:
        frames = through_h264(frames, crf=int(rng.integers(18, 31)))
    chosen = frames[(2 * np.arange(count) + 1) * len(frames) // (2 * count)]
    return resize(chosen if compressed else _halve_chroma(chosen))


def resize(frames: np.ndarray) -> np.ndarray:
    """Resize uint8 [T, H, W, 3] to [T, 48, 48, 3] with the operation that the video processor calls."""
    import torch
    import torchvision.transforms.v2.functional as tvf

    torch.set_num_threads(1)
    tensor = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    small = tvf.resize(tensor, [PIXELS, PIXELS], interpolation=tvf.InterpolationMode.BICUBIC, antialias=True)
    return small.permute(0, 2, 3, 1).contiguous().numpy()


def through_h264(frames: np.ndarray, crf: int) -> np.ndarray:
    """Encode as H.264 in memory and decode again: uint8 [T, H, W, 3] to the same shape."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": str(crf), "threads": "1"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as back:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in back.decode(video=0)])


def _halve_chroma(frames: np.ndarray) -> np.ndarray:
    """Average colour (not brightness) over 2 x 2 pixels, as every 4:2:0 video does."""
    image = frames.astype(np.float32)
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    chroma = image - luma[..., None]
    t, h, w, _ = frames.shape
    coarse = chroma.reshape(t, h // 2, 2, w // 2, 2, 3).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    return np.clip(coarse + luma[..., None], 0, 255).astype(np.uint8)
