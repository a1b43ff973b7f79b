"""Decoding of video files: the frames that a policy asks for, or a failure with its status and reason.

PyAV in sequential passes is the reference: right on every file tried, and as fast as anything on short clips. decord
seeks, which pays on long clips; it is silently wrong in some containers and codecs, so it only serves where it is
exact (8-bit H.264 or VP9 in mp4, mkv or webm, no edits), and any doubt or exception goes back to PyAV.

Frames come upright (rotated and mirrored as the file says), in the order of presentation, edit lists applied, in the
pixels that are stored: samples that are not square stay so, and HDR is not tone-mapped.

This module runs in decoding processes (`pool.py`): it must never import torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from feature_extractors.media.container import MAX_PIXELS, RefusedError, error_text
from feature_extractors.media.frame_policy import FramePolicy, TooManyFramesError
from feature_extractors.media.remote_file import RemoteError, Source
from feature_extractors.media.result import Clip, Failure
from feature_extractors.media.video_pass import (
    Header,
    check_size,
    count_before_end,
    decord_is_exact,
    frame_rate,
    guess_positions,
    read_header,
    sequential_pass,
)

# Part of every feature's key: bump it when other frames would come out.
DECODING_VERSION = 1
# Below this one sequential pass is as fast as seeking (measured on 2-4 s and on 120 s clips).
SEEK_FROM_SECONDS = 30.0
Decoded = TypeVar("Decoded")


def decoder_key() -> dict[str, Any]:
    """Return everything that decides the decoded frames, for feature keys."""
    fast = "decord" if importlib.util.find_spec("decord") else "pyav"
    return {"version": DECODING_VERSION, "short": "pyav", "long": fast}


def deadline(size: int, duration: float | None = None) -> float:
    """Return the seconds that decoding may take: generous for a busy machine, bounded when the header is wrong.

    Parameters
    ----------
    size
        Bytes.
    duration
        Seconds to decode, as far as the header tells; None: not opened yet.
    """
    # Video below 2 kB/s does not exist outside of damaged headers.
    believable = min(duration or 0.0, size / 2000)
    return 30.0 + 2.0 * believable


def decode(
    path: Source, policy: FramePolicy, on_duration: Callable[[float | None], None] = lambda _: None
) -> Clip | Failure:
    """Decode the frames that `policy` asks for.

    Parameters
    ----------
    path
        Any file, or a remote one.
    policy
        Frame policy.
    on_duration
        Called with the seconds to decode, as far as the header tells, as soon as it is read.

    Returns
    -------
    Clip | Failure
        A failure where PyAV does not give at least one frame; never an exception of the decoder.

    Raises
    ------
    MemoryError
        If a frame does not fit.
    """

    def frames(header: Header) -> Clip | Failure:
        long = (header.seconds or 0) >= SEEK_FROM_SECONDS
        if isinstance(path, Path) and long and decord_is_exact(path):  # decord opens nothing but files
            clip = _decode_decord(path, policy, header.frames)
            if clip is not None:
                return clip
        return _decode_pyav(path, policy, header)

    return decode_with_header(path, policy.seconds, on_duration, frames)


def decode_with_header(
    path: Source,
    seconds: float | None,
    on_duration: Callable[[float | None], None],
    work: Callable[[Header], Decoded | Failure],
) -> Decoded | Failure:
    """Read the header of a file, then decode it; an error of PyAV becomes a failure with its reason.

    Parameters
    ----------
    path
        Any file, or a remote one.
    seconds
        Duration to decode; None: all.
    on_duration
        As in `decode`.
    work
        Decodes, given the header.

    Raises
    ------
    MemoryError
        If a frame does not fit.
    """
    import av

    try:
        header = read_header(path)
        wanted = [s for s in (header.seconds, seconds) if s is not None]
        on_duration(min(wanted, default=None))
        return work(header)
    except RefusedError as error:
        return Failure(error.status, str(error))
    except RemoteError as error:
        return error.failure
    except TooManyFramesError as error:
        return Failure("error", str(error))
    except (av.FFmpegError, ValueError, IndexError) as error:
        if isinstance(error, MemoryError):
            raise
        return Failure("undecodable", error_text(error))


def _decode_pyav(path: Source, policy: FramePolicy, header: Header) -> Clip | Failure:
    # The number of frames is known at the end of a pass only: guess, and decode again when the guess was wrong.
    found = sequential_pass(path, guess_positions(policy, header.frames, header.rate), policy.seconds)
    total = len(found.times)
    if total == 0:
        return no_frame_failure(header)
    times = np.asarray(found.times) - found.times[0]
    indices = policy.indices(times)
    check_size(len(indices), found.size)
    if not set(indices) <= found.kept.keys():
        found = sequential_pass(path, frozenset(indices), policy.seconds)
    return Clip(
        frames=np.stack([found.kept[i] for i in indices]),
        indices=indices,
        times=[float(times[i]) for i in indices],
        total=total,
        fps=frame_rate(found.times, found.nominal),
        damage=found.damage.note,
        decoder="pyav",
    )


def no_frame_failure(header: Header) -> Failure:
    """Return the failure of a file without a frame."""
    unsized = f": the header declares no size, or one above {MAX_PIXELS} pixels"
    return Failure("undecodable", f"no frame decodes{'' if header.sized else unsized}")


def _decode_decord(path: Path, policy: FramePolicy, expected: int) -> Clip | None:
    try:
        import decord

        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) != expected:
            return None
        starts = np.asarray(reader.get_frame_timestamp(range(expected)))[:, 0].astype(np.float64)
        times = (starts - starts[0])[: count_before_end(starts, policy.seconds)]
        indices = policy.indices(times)
        check_size(len(indices), reader[indices[0]].shape[1::-1])
        frames = reader.get_batch(indices).asnumpy()
        nominal = float(reader.get_avg_fps())
    except Exception:  # whatever decord fails on, PyAV decides
        return None
    chosen = [float(times[i]) for i in indices]
    return Clip(frames, indices, chosen, len(times), frame_rate(times.tolist(), nominal), "", "decord")
