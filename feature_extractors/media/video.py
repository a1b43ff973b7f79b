"""From a video file to the frames a policy asks for, with a status for whatever can go wrong.

PyAV in sequential passes is the reference: right on every file tried, and as fast as anything on short clips. decord
seeks, which pays on long clips; it is silently wrong in some containers and codecs, so it only serves where it is
exact (8-bit H.264 or VP9 in mp4, mkv or webm, no edits), and any doubt or exception goes back to PyAV.

Frames come upright (rotated and mirrored as the file says), in the order of presentation, edit lists applied, in the
pixels that are stored: samples that are not square stay so, and HDR is not tone-mapped.

This module runs in decoding processes of its own (`decoding.py`): it must never import torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from feature_extractors.media.container import MAX_PIXELS, RefusedError, check_file, sentence
from feature_extractors.media.frame_policy import FramePolicy, TooManyFramesError
from feature_extractors.media.result import Clip, Failure
from feature_extractors.media.video_pass import (
    Header,
    can_seek,
    check_size,
    frame_rate,
    guess,
    read_header,
    sequential_pass,
    within,
)

# Part of every feature's key: bump it when other frames would come out.
DECODING_VERSION = 1
# Below this one sequential pass is as fast as seeking (measured on 2-4 s and on 120 s clips).
SEEK_FROM_SECONDS = 30.0
Found = TypeVar("Found")


def decoder_key() -> dict[str, Any]:
    """What decides which frames come out, for feature keys."""
    fast = "decord" if importlib.util.find_spec("decord") else "pyav"
    return {"version": DECODING_VERSION, "short": "pyav", "long": fast}


def content_hash(path: Path | None, root: Path | None = None) -> tuple[str, Failure | None]:
    """SHA-256 of a file's bytes, and why there is nothing to decode.

    Parameters
    ----------
    path
        Any path; a pipe, a device or a folder is refused unopened. None: an item without a video.
    root
        When given, links that lead out of this folder are refused.

    Returns
    -------
    tuple
        (hex digest, None), or ("", Failure) for an absent, unreadable or zero-byte file.
    """
    if path is None:
        return "", Failure("missing", "no video is named")
    try:
        check_file(Path(path), root)
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest(), None
    except RefusedError as error:
        return "", Failure(error.status, str(error))
    except OSError as error:
        return "", Failure("missing", f"the file cannot be read: {error.strerror}")


def deadline(size: int, duration: float | None = None) -> float:
    """Seconds a clip may take: generous for a busy machine, bounded when the header lies.

    Parameters
    ----------
    size
        Bytes.
    duration
        Seconds, as the header says, or as many of them as are wanted; None: not opened yet.
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
        Called with the duration of the header (seconds), or of what is wanted of it, as soon as it is known.

    Returns
    -------
    Clip | Failure
        A failure for whatever PyAV cannot turn into at least one frame; never an exception of the decoder.

    Raises
    ------
    MemoryError
        If a frame does not fit.
    """

    def frames(header: Header) -> Clip | Failure:
        if (header.seconds or 0) >= SEEK_FROM_SECONDS and can_seek(path):
            clip = _decode_decord(path, policy, header.frames)
            if clip is not None:
                return clip
        return _decode_pyav(path, policy, header)

    return attempt(path, policy.seconds, probed, frames)


def attempt(
    path: Path, seconds: float | None, probed: Callable[[float | None], None], work: Callable[[Header], Found | Failure]
) -> Found | Failure:
    """Read the header of a file and work on it; whatever PyAV stumbles over is a failure with its reason.

    Parameters
    ----------
    path
        Any file.
    seconds
        How much of it is wanted; None: all.
    probed
        As in `decode`.
    work
        What to do, given the header.

    Raises
    ------
    MemoryError
        If a frame does not fit.
    """
    import av

    try:
        header = read_header(Path(path))
        wanted = [s for s in (header.seconds, seconds) if s is not None]
        probed(min(wanted, default=None))
        return work(header)
    except RefusedError as error:
        return Failure(error.status, str(error))
    except TooManyFramesError as error:
        return Failure("error", str(error))
    except (av.FFmpegError, ValueError, IndexError) as error:
        if isinstance(error, MemoryError):
            raise
        return Failure("undecodable", sentence(error))


def _decode_pyav(path: Path, policy: FramePolicy, header: Header) -> Clip | Failure:
    # How many frames there are is only known at the end of a pass: guess, and go again when the guess was wrong.
    found = sequential_pass(path, guess(policy, header.frames, header.rate), policy.seconds)
    total = len(found.times)
    if total == 0:
        return nothing_decodes(header)
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
        damaged=found.damaged,
        decoder="pyav",
    )


def nothing_decodes(header: Header) -> Failure:
    """What to say of a file without a frame."""
    unsized = f": the header declares no size, or one above {MAX_PIXELS} pixels"
    return Failure("undecodable", f"no frame decodes{'' if header.sized else unsized}")


def _decode_decord(path: Path, policy: FramePolicy, expected: int) -> Clip | None:
    try:
        import decord

        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) != expected:
            return None
        starts = np.asarray(reader.get_frame_timestamp(range(expected)))[:, 0].astype(np.float64)
        times = (starts - starts[0])[: within(starts, policy.seconds)]
        indices = policy.indices(times)
        check_size(len(indices), reader[indices[0]].shape[1::-1])
        frames = reader.get_batch(indices).asnumpy()
        nominal = float(reader.get_avg_fps())
    except Exception:  # whatever decord stumbles over, PyAV decides
        return None
    chosen = [float(times[i]) for i in indices]
    return Clip(frames, indices, chosen, len(times), frame_rate(times.tolist(), nominal), 0, "decord")
