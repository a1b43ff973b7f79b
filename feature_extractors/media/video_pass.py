"""Sequential passes over video with PyAV: header, frames, timestamps, and the frame rate from these."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.media.container import (
    MAX_CLIP_BYTES,
    Damage,
    Orientation,
    RefusedError,
    decoded_frames,
    file_size,
    open_media,
    orientation,
    video_stream,
)
from feature_extractors.media.frame_policy import ROUNDING, FramePolicy, TooManyFramesError
from feature_extractors.media.remote_file import Source

# Where decord gives the very frames of a sequential pass: elsewhere it is off by frames, or by the last bits of colour.
EXACT_CONTAINERS = ("mp4", "matroska", "webm")
EXACT_CODECS = ("h264", "vp9")
EXACT_PIXELS = ("yuv420p", "yuvj420p")


@dataclass(frozen=True)
class Header:
    """Header of a video file; none of it is reliable."""

    seconds: float | None
    frames: int
    rate: float
    sized: bool


def read_header(path: Source) -> Header:
    """Read the header; count packets where it does not give the number of frames."""
    import av

    with open_media(path) as container:
        stream = video_stream(container)
        seconds = container.duration / av.time_base if container.duration else None
        expected = stream.frames
        if not expected:
            times = [packet.pts for packet in container.demux(stream) if packet.size]
            expected, known = len(times), [time for time in times if time is not None]
            if seconds is None and known:
                seconds = float((max(known) - min(known)) * stream.time_base)
        # A frame takes at least a byte: a header that says more must not cost memory.
        frames, rate = min(expected, file_size(path)), float(stream.average_rate or 0)
        return Header(seconds, frames, rate, bool(stream.codec_context.width))


def decord_is_exact(path: Path) -> bool:
    """Tell files that decord reads exactly: undamaged, of few formats, no mirror images, no edit lists."""
    with open_media(path) as container:
        stream = video_stream(container)
        exact = not set(container.format.name.split(",")).isdisjoint(EXACT_CONTAINERS)
        exact = exact and stream.codec_context.name in EXACT_CODECS and stream.codec_context.pix_fmt in EXACT_PIXELS
        if not exact or not _sound_packets(container, stream):
            return False
    with open_media(path) as container:
        frames = decoded_frames(container, video_stream(container), Damage())
        return not any(orientation(frame).mirrored for frame in itertools.islice(frames, 1))


def _sound_packets(container: Any, stream: Any) -> bool:
    """Return True if no packet is discarded or damaged, and none is missing at the end."""
    damage, ends = Damage(), [0.0]
    for packet in container.demux(stream):
        if packet.is_discard:
            return False
        damage.inspect(packet)
        if packet.size and packet.pts is not None:
            ends.append(float((packet.pts + (packet.duration or 0) - (stream.start_time or 0)) * stream.time_base))
    damage.end(stream, max(ends), 1 / float(stream.average_rate or 1))
    return not damage.note


@dataclass(eq=False)
class SequentialPass:
    """Result of a sequential pass: the frames asked for, all timestamps, signs of damage."""

    kept: dict[int, np.ndarray] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    nominal: float = 0.0
    size: tuple[int, int] = (0, 0)
    turn: Orientation = field(default_factory=Orientation)
    damage: Damage = field(default_factory=Damage)

    def take(self, frame: Any, wanted: Collection[int]) -> None:
        """Note the time of a frame, and keep its pixels if they are asked for and fit."""
        if not self.times:
            # A stream may change its size on the way; a clip has one.
            self.size, self.turn = (frame.width, frame.height), orientation(frame)
        if len(self.times) in wanted and _bytes(len(self.kept) + 1, self.size) <= MAX_CLIP_BYTES:
            image = frame.to_ndarray(format="rgb24", width=self.size[0], height=self.size[1])
            self.kept[len(self.times)] = self.turn.upright(image)
        self.times.append(self.time(frame))

    def end(self, stream: Any, last: Any) -> None:
        """Note what is missing at the end of a stream that was read to its end."""
        if self.times:
            step = 1 / (self.nominal or frame_rate(self.times, 0.0))
            shown = float(last.duration * last.time_base) if last.duration and last.time_base else step
            self.damage.end(stream, max(self.times) - self.times[0] + shown, step)

    def time(self, frame: Any) -> float:
        """Return the time of a frame in seconds; one step after the frame before where the file has none."""
        if frame.time is not None:
            return float(frame.time)
        return self.times[-1] + 1 / (self.nominal or 1.0) if self.times else 0.0


def guess_positions(policy: FramePolicy, expected: int, rate: float) -> frozenset[int]:
    """Return the positions that a policy would choose if the header were right."""
    times = np.arange(min(max(expected, 1), 1_000_000)) / (rate or 1.0)
    try:
        return frozenset(policy.indices(times[: count_before_end(times, policy.seconds)]))
    except TooManyFramesError:
        return frozenset()


def count_before_end(times: np.ndarray, seconds: float | None) -> int:
    """Count the frames before the end, by a border that no rounding of timestamps moves a frame across."""
    return len(times) if seconds is None else max(1, int((times - times[0] < seconds - ROUNDING / 2).sum()))


def sequential_pass(path: Source, wanted: Collection[int], seconds: float | None) -> SequentialPass:
    """Decode from the start to the end of `seconds` (None: of the file), keeping the frames at `wanted` positions."""
    with open_media(path) as container:
        stream = video_stream(container)
        found = SequentialPass(nominal=float(stream.average_rate or 0))
        border = math.inf if seconds is None else seconds - ROUNDING / 2
        last = None
        for frame in decoded_frames(container, stream, found.damage):
            if found.times and found.time(frame) - found.times[0] >= border:
                break
            found.take(frame, wanted)
            last = frame
        else:
            found.end(stream, last)
        return found


def _bytes(frames: int, size: tuple[int, int]) -> int:
    return 3 * frames * size[0] * size[1]


def check_size(frames: int, size: tuple[int, int]) -> None:
    """Refuse more frames than `MAX_CLIP_BYTES` hold."""
    if _bytes(frames, size) > MAX_CLIP_BYTES:
        limit = f"at most {MAX_CLIP_BYTES >> 20} MB can be"
        needs = f"{frames} frames of {size[0]}x{size[1]} take {_bytes(frames, size) >> 20} MB"
        raise RefusedError("error", f"{needs}, {limit}; take fewer frames")


def frame_rate(times: list[float], nominal: float) -> float:
    """Return frames per second: the average from timestamps, three decimals; of one frame the rate in the header.

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
