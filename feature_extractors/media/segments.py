"""Segments of long clips: pieces of equal duration, the frames of each, decoded a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from feature_extractors.media.frame_policy import MAX_FRAMES, ROUNDING, At, Uniform
from feature_extractors.media.hashed_file import HashedFile
from feature_extractors.media.pool import DecodePool, Part
from feature_extractors.media.remote_file import Source
from feature_extractors.media.result import Clip, Failure
from feature_extractors.media.timeline import Timeline, Timing

# Part of keys: bump it when a piece would have other frames.
VERSION = 1
# Frames that are decoded together, in bytes: twenty of 1080p. Without seeking every decoding starts from the beginning.
WINDOW_BYTES = 1 << 27


@dataclass(frozen=True)
class Piece:
    """Segment of a clip with its chosen frames.

    Attributes
    ----------
    start, end
        Seconds since the first frame of the clip.
    first, total
        Position of its first frame in the clip, and how many it has.
    positions
        Of the chosen frames in the clip, ascending.
    """

    start: float
    end: float
    first: int
    total: int
    positions: tuple[int, ...]

    @property
    def span(self) -> str:
        """Start and end, as prompts give them.

        Examples
        --------
        >>> Piece(8.0, 16.04, 64, 64, (96,)).span
        '8-16 s'
        """
        return f"{round(self.start, 1):g}-{round(self.end, 1):g} s"


def cut(times: np.ndarray, end: float, length: float, count: int) -> list[Piece]:
    """Cut a clip into pieces of `length` seconds; a rest shorter than half of that belongs to the last.

    Parameters
    ----------
    times
        [total] seconds since the first frame; at least one.
    end
        End of the last frame, seconds.
    length
        Of a piece, seconds.
    count
        Frames of each: the middle ones of equal parts of its frames (`uniform:N`).

    Returns
    -------
    list
        Pieces in order; one without frames is left out.

    Examples
    --------
    >>> [(piece.span, piece.positions) for piece in cut(np.arange(20) * 1.0, 20.0, 8.0, 2)]
    [('0-8 s', (2, 6)), ('8-16 s', (10, 14)), ('16-20 s', (17, 19))]
    """
    # Damaged files may jump back in time.
    shown = np.maximum.accumulate(np.asarray(times, dtype=np.float64))
    last = max(1, math.floor((end + ROUNDING) / length + 0.5)) - 1
    numbers = np.minimum(np.floor((shown + ROUNDING) / length), last)
    pieces = []
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        positions = tuple(int(own[at]) for at in Uniform(count).indices(own))
        start, stop = float(number * length), end if number == last else float((number + 1) * length)
        pieces.append(Piece(start, stop, int(own[0]), len(own), positions))
    return pieces


@dataclass(frozen=True, eq=False)
class LongClip:
    """Clip cut into pieces, none of them decoded yet.

    Attributes
    ----------
    path
        The file.
    timeline
        Times of its frames.
    pieces
        As `cut` returns them.
    pool
        Decodes them.
    """

    path: Source
    timeline: Timeline
    pieces: Sequence[Piece]
    pool: DecodePool

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features: damage."""
        return self.timeline.damage

    def windows(self) -> list[list[Piece]]:
        """Group the pieces that are decoded together: as many as `WINDOW_BYTES` and `MAX_FRAMES` hold, at least one."""
        count = len(self.pieces[0].positions)
        room = max(1, min(WINDOW_BYTES // (self.timeline.frame_bytes * count), MAX_FRAMES // count))
        return [list(self.pieces[start : start + room]) for start in range(0, len(self.pieces), room)]

    def part(self, window: Sequence[Piece]) -> Part:
        """Make the request for the frames of some pieces, which ends behind the last of them."""
        positions = tuple(position for piece in window for position in piece.positions)
        # whole seconds: they have one spelling
        behind = math.ceil(self.timeline.times[: positions[-1] + 1].max() + 1 / self.timeline.fps) + 1
        return Part(self.path, At(positions, behind if behind < 10_000 else None))


def decoded(clips: Sequence[LongClip], ahead: int = 8) -> Iterator[tuple[int, Piece, Clip | Failure]]:
    """Decode the pieces of several clips, in order; only a few windows are in memory at a time.

    Parameters
    ----------
    clips
        Of one pool.
    ahead
        Windows that are decoded before they are asked for; `pool.WAITING_BYTES` bounds them as well.

    Yields
    ------
    tuple
        (place in `clips`, piece, its frames). The frames are a clip by themselves: positions and times count from the
        first frame of the piece.
    """
    windows = [(at, window) for at, clip in enumerate(clips) for window in clip.windows()]
    parts = [clips[at].part(window) for at, window in windows]
    found = clips[0].pool.map(parts, ahead) if clips else iter(())
    for (at, window), whole in zip(windows, found, strict=True):
        start = 0
        for piece in window:
            stop = start + len(piece.positions)
            yield at, piece, _piece_of(whole, piece, slice(start, stop), clips[at].timeline)
            start = stop


def _piece_of(whole: object, piece: Piece, frames: slice, timeline: Timeline) -> Clip | Failure:
    if not isinstance(whole, Clip):
        return whole if isinstance(whole, Failure) else Failure("error", "no frames came of it")
    if whole.indices[frames] != list(piece.positions):
        return Failure("error", f"its frames at {piece.span} were there once and are not there again")
    begin = float(timeline.times[piece.first])
    return replace(
        whole,
        frames=whole.frames[frames],
        indices=[position - piece.first for position in piece.positions],
        times=[time - begin for time in whole.times[frames]],
        total=piece.total,
        fps=timeline.fps,
    )


@contextmanager
def cutting(
    workers: int, length: float, policy: Uniform, files: Mapping[Path, HashedFile] | None = None
) -> Iterator[Cutter]:
    """Read clips in pieces, while a stage runs.

    Parameters
    ----------
    workers
        Decoding processes.
    length
        Of a piece, seconds.
    policy
        Frames of each piece; its `seconds` end the whole clip.
    files
        As in `DecodePool`.
    """
    with DecodePool(workers, Timing(policy.seconds), files) as pool:
        yield Cutter(pool, length, policy.count)


class Cutter:
    """Reader of a stage: paths to clips in pieces."""

    def __init__(self, pool: DecodePool, length: float, count: int) -> None:
        self._pool, self._length, self._count = pool, length, count

    @property
    def busy(self) -> float:
        """Seconds of decoding so far."""
        return self._pool.busy

    def map(self, payloads: Sequence[Source], ahead: int) -> Iterator[LongClip | Failure]:
        """Yield one clip in pieces or failure a path, in order."""
        for path, found in zip(payloads, self._pool.map(payloads, ahead), strict=True):
            if isinstance(found, Timeline):
                yield LongClip(path, found, cut(found.times, found.end, self._length, self._count), self._pool)
            else:
                yield found if isinstance(found, Failure) else Failure("error", "no times came of it")
