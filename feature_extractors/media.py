"""From a video file to the frames a policy asks for, with a status for whatever can go wrong.

PyAV in sequential passes is the reference: right on every file tried, and as fast as anything on short clips. decord
seeks, which pays on long clips; it is silently wrong in some containers and codecs, so it only serves where it is
exact (H.264 or VP9 in mp4, mkv or webm), and any doubt or exception goes back to PyAV.

This module runs in decoding processes of its own (`decoding.py`): it must never import torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.frames import FramePolicy

# Part of every feature's key: bump it when other frames would come out.
DECODING_VERSION = 1
# Below this one sequential pass is as fast as seeking (measured on 2-4 s and on 120 s clips).
SEEK_FROM_SECONDS = 30.0
EXACT_CONTAINERS = ("mp4", "matroska", "webm")
EXACT_CODECS = ("h264", "vp9")


@dataclass(frozen=True, eq=False)
class Clip:
    """Decoded frames of one clip.

    Attributes
    ----------
    frames
        uint8 [N, H, W, 3] RGB, upright.
    indices
        [N] positions among all decoded frames.
    times
        [N] seconds since the first frame.
    total
        Number of decoded frames.
    fps
        Frames per second over the whole clip, from timestamps (average, where the rate varies), three decimals.
    damaged
        Packets that did not decode.
    decoder
        `pyav` or `decord`.
    """

    frames: np.ndarray
    indices: list[int]
    times: list[float]
    total: int
    fps: float
    damaged: int
    decoder: str

    @property
    def metadata(self) -> dict[str, Any]:
        """What video processors of transformers need: without it they take every clip for 24 frames per second."""
        return {
            "fps": self.fps,
            "total_num_frames": self.total,
            "duration": self.total / self.fps,
            "frames_indices": list(self.indices),
        }

    @property
    def note(self) -> str:
        """What a reader should know although there are frames."""
        return f"damaged: {self.damaged} packets do not decode" if self.damaged else ""


@dataclass(frozen=True)
class Failure:
    """Why there are no frames: a status of `protocols.features.STATUSES` and a sentence."""

    status: str
    reason: str


def decoder_key() -> dict[str, Any]:
    """What decides which frames come out, for feature keys."""
    fast = "decord" if importlib.util.find_spec("decord") else "pyav"
    return {"version": DECODING_VERSION, "short": "pyav", "long": fast}


def content_hash(path: Path | None) -> tuple[str, Failure | None]:
    """SHA-256 of a file's bytes, and why there is nothing to decode.

    Returns
    -------
    tuple
        (hex digest, None), or ("", Failure) for an absent, unreadable or zero-byte file.
    """
    if path is None:
        return "", Failure("missing", "no video is named")
    try:
        with Path(path).open("rb") as handle:
            if not handle.read(1):
                return "", Failure("empty", "the file has 0 bytes")
            handle.seek(0)
            return hashlib.file_digest(handle, "sha256").hexdigest(), None
    except FileNotFoundError:
        return "", Failure("missing", "no such file")
    except OSError as error:
        return "", Failure("missing", f"the file cannot be read: {error.strerror}")


def deadline(size: int, duration: float | None = None) -> float:
    """Seconds a clip may take: generous for a busy machine, bounded when the header lies.

    Parameters
    ----------
    size
        Bytes.
    duration
        Seconds, as the header says; None: not opened yet.
    """
    # Video below 2 kB/s does not exist outside of damaged headers.
    believable = min(duration or 0.0, size / 2000)
    return 30.0 + 2.0 * believable


def decode(path: Path, policy: FramePolicy, probed: Callable[[float | None], None] = lambda _: None) -> Clip | Failure:
    """Decode the frames that `policy` asks for.

    Parameters
    ----------
    path
        Any file.
    policy
        Which frames.
    probed
        Called with the duration of the header (seconds) as soon as it is known.

    Returns
    -------
    Clip | Failure
        A failure for whatever PyAV cannot turn into at least one frame; never an exception of the decoder.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if stream is None:
                return Failure("undecodable", "no video stream")
            seconds = container.duration / av.time_base if container.duration else None
            probed(seconds)
            expected = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
            exact = any(name in container.format.name.split(",") for name in EXACT_CONTAINERS)
            exact = exact and stream.codec_context.name in EXACT_CODECS
        if exact and seconds and seconds >= SEEK_FROM_SECONDS:
            clip = _decode_decord(path, policy, expected)
            if clip is not None:
                return clip
        return _decode_pyav(path, policy, expected)
    except (av.FFmpegError, ValueError, IndexError) as error:
        return Failure("undecodable", _sentence(error))


@dataclass(eq=False)
class _Pass:
    """One sequential pass: wanted frames, all timestamps, packets that did not decode."""

    kept: dict[int, np.ndarray]
    times: list[float]
    nominal: float
    damaged: int = 0


def _decode_pyav(path: Path, policy: FramePolicy, expected: int) -> Clip | Failure:
    # How many frames there are is only known at the end of a pass: guess, and go again when the guess was wrong.
    found = _pass(path, policy.indices(max(expected, 1)))
    total = len(found.times)
    if total == 0:
        return Failure("undecodable", "no frame decodes")
    indices = policy.indices(total)
    if not set(indices) <= found.kept.keys():
        found = _pass(path, indices)
    return Clip(
        frames=np.stack([found.kept[i] for i in indices]),
        indices=indices,
        times=[found.times[i] - found.times[0] for i in indices],
        total=total,
        fps=_rate(found.times, found.nominal),
        damaged=found.damaged,
        decoder="pyav",
    )


def _pass(path: Path, wanted: Iterable[int]) -> _Pass:
    import av

    with av.open(str(path)) as container:
        stream: Any = container.streams.best("video")
        # Threads belong to the processes around us; one per decoder also makes damaged files repeatable.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        found = _Pass({}, [], float(stream.average_rate or 0))
        wanted, shape = set(wanted), None
        for frame in _frames(container, stream, found):
            if len(found.times) in wanted:
                shape = shape or (frame.width, frame.height)
                # A stream may change its size on the way; a clip has one.
                image = frame.to_ndarray(format="rgb24", width=shape[0], height=shape[1])
                found.kept[len(found.times)] = np.ascontiguousarray(np.rot90(image, k=frame.rotation // 90))
            found.times.append(frame.time if frame.time is not None else float(len(found.times)))
        return found


def _frames(container: Any, stream: Any, found: _Pass) -> Iterable[Any]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            found.damaged += 1
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError:
            found.damaged += 1


def _decode_decord(path: Path, policy: FramePolicy, expected: int) -> Clip | None:
    try:
        import decord

        reader = decord.VideoReader(str(path), num_threads=1)
        total = len(reader)
        if total != expected:
            return None
        indices = policy.indices(total)
        frames = reader.get_batch(indices).asnumpy()
        starts = np.asarray(reader.get_frame_timestamp(range(total)))[:, 0].astype(np.float64)
        nominal = float(reader.get_avg_fps())
    except Exception:  # whatever decord stumbles over, PyAV decides
        return None
    times = (starts - starts[0]).tolist()
    return Clip(frames, indices, [times[i] for i in indices], total, _rate(times, nominal), 0, "decord")


def _rate(times: list[float], nominal: float) -> float:
    """Average frames per second from timestamps, three decimals; from the header where there is one frame.

    Some containers round timestamps to milliseconds: a rate that is a whole one (with or without 1000/1001) but for
    that rounding is taken to be it, so that a clip has one rate in whatever container it comes.
    """
    span = max(times) - min(times)
    if span <= 0:
        return round(nominal, 3) or 1.0
    rate = (len(times) - 1) / span
    usual = min(round(rate), round(rate * 1.001) / 1.001, key=lambda r: abs(r - rate))
    rounding = rate * 0.0015 / span + 0.0005
    return round(float(usual if abs(usual - rate) <= rounding else rate), 3) or 1.0


def _sentence(error: Exception) -> str:
    """What the decoder said, without the path: reasons are stored, and compared between machines."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
