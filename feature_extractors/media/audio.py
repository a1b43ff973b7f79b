"""Sound of clips, decoded with PyAV to 16 kHz mono float32, in one way for all formats.

The stream that FFmpeg would play is decoded in one sequential pass and resampled by FFmpeg's own resampler to 16-bit
samples, as openai-whisper reads its input. Channels are mixed by FFmpeg's matrix, scaled so that it cannot overflow:
stereo is the mean of both; of 5.1 the front pair counts 1, centre sqrt(2), surrounds sqrt(1/2) each, and the LFE
nothing. Channels of unknown position are averaged. Time starts with the first sound, whatever its timestamp.

This module runs in decoding processes (`pool.py`): it must never import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_extractors.media.container import (
    MAX_CLIP_BYTES,
    Damage,
    RefusedError,
    decoded_frames,
    error_text,
    open_media,
)
from feature_extractors.media.frame_policy import MAX_SECONDS
from feature_extractors.media.remote_file import RemoteError, Source
from feature_extractors.media.result import Failure

# Part of every feature's key: bump it when other samples would come out.
AUDIO_VERSION = 1
RATE = 16_000
# Digital silence: no sample reaches this (3 steps of 16 bits).
SILENCE = 1e-4
# What a header may declare; a resampler from 1 Hz or from 1,000 channels serves no sound.
SOURCE_RATES = (1_000, 768_000)
MAX_CHANNELS = 64
# Frames of most codecs are shorter than this.
FRAME_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class Sound:
    """Decoded sound of one clip.

    Attributes
    ----------
    samples
        float32 [T] mono at `RATE`, in -1..1.
    channels, source_rate
        Of the stream, before mixing and resampling.
    damage
        Signs of damage, as `container.Damage.note`; "": none.
    """

    samples: np.ndarray
    channels: int
    source_rate: int
    damage: str

    @property
    def seconds(self) -> float:
        """Decoded duration."""
        return len(self.samples) / RATE

    @property
    def silent(self) -> bool:
        """True for digital silence: every sample is below `SILENCE`."""
        return not bool((np.abs(self.samples) >= SILENCE).any())

    @property
    def metadata(self) -> dict[str, Any]:
        """Channels, rate and duration, and digital silence."""
        return {
            "rate": RATE,
            "source_rate": self.source_rate,
            "channels": self.channels,
            "duration": self.seconds,
            "silent": self.silent,
        }

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features: digital silence, damage."""
        return "; ".join(["digital silence"] * self.silent + [self.damage] * bool(self.damage))


@dataclass(frozen=True)
class Listening:
    """Audio policy: the part of a clip's sound that is decoded, the counterpart of a frame policy.

    Attributes
    ----------
    seconds
        Duration from the first sound; None: all of it.
    keep_silence
        Hand on digital silence; otherwise it is a failure with status `empty`.
    """

    seconds: float | None = MAX_SECONDS
    keep_silence: bool = False

    @property
    def key(self) -> dict[str, Any]:
        """Everything that decides the samples, for feature keys."""
        silence = "kept" if self.keep_silence else "empty"
        return {"version": AUDIO_VERSION, "rate": RATE, "seconds": self.seconds, "silence": silence}


def listen(
    path: Source, wanted: Listening, on_duration: Callable[[float | None], None] = lambda _: None
) -> Sound | Failure:
    """Decode sound under a policy; digital silence is a failure unless the policy keeps it."""
    sound = read_audio(path, wanted.seconds, on_duration)
    if isinstance(sound, Sound) and sound.silent and not wanted.keep_silence:
        return Failure("empty", "digital silence")
    return sound


def read_audio(
    path: Source, seconds: float | None = None, on_duration: Callable[[float | None], None] = lambda _: None
) -> Sound | Failure:
    """Decode the sound of any file in this process; `pool.DecodePool` does it where a crash costs nothing.

    Parameters
    ----------
    path
        Any file.
    seconds
        Duration from the first sound; None: all of it.
    on_duration
        Called with the seconds to decode, as far as the header tells, as soon as it is read.

    Returns
    -------
    Sound | Failure
        Digital silence is a `Sound` with `silent`. Failures: `missing` (no such file, no regular file), `empty` (0
        bytes, or no audio stream), `undecodable` (no sound decodes), `error` (too long to hold); never an exception
        of the decoder.

    Raises
    ------
    MemoryError
        If the sound does not fit.
    """
    import av

    try:
        with open_media(path) as container:
            stream = _audio_stream(container)
            length = container.duration / av.time_base if container.duration else None
            on_duration(length if seconds is None else min(seconds, length or seconds))
            damage, wanted = Damage(), None if seconds is None else max(1, round(seconds * RATE))
            samples = _concatenated(_mono(decoded_frames(container, stream, damage)), wanted)
            if not len(samples):
                return Failure("undecodable", "no sound decodes")
            if wanted is None or len(samples) < wanted:  # it was read to its end
                damage.end(stream, len(samples) / RATE, FRAME_SECONDS)
            return Sound(samples, int(stream.channels), int(stream.sample_rate), damage.note)
    except RefusedError as error:
        return Failure(error.status, str(error))
    except RemoteError as error:
        return error.failure
    except (av.FFmpegError, ValueError, IndexError) as error:
        if isinstance(error, MemoryError):
            raise
        return Failure("undecodable", error_text(error))


def _audio_stream(container: Any) -> Any:
    stream = container.streams.best("audio")
    if stream is None:
        raise RefusedError("empty", "no audio stream")
    if stream.codec_context is None:
        raise RefusedError("undecodable", "a codec that this FFmpeg cannot decode")
    low, high = SOURCE_RATES
    if not low <= stream.sample_rate <= high or not 0 < stream.channels <= MAX_CHANNELS:
        declared = f"the header declares {stream.channels} channels at {stream.sample_rate} Hz"
        raise RefusedError("undecodable", f"{declared}; the limits are {MAX_CHANNELS} channels and {low} to {high} Hz")
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def _mono(frames: Iterator[Any]) -> Iterator[np.ndarray]:
    """Yield int16 [n] at `RATE`. A stream may change its rate or channels on the way: one resampler for each kind."""
    import av

    resampler, kind = None, None
    for frame in frames:
        if frame.samples == 0:
            continue
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if found != kind:
            if resampler is not None:
                yield from map(_samples, resampler.resample(None))
            resampler, kind = av.AudioResampler(format="s16", layout="mono", rate=RATE), found
        # Resampling is by count of samples: gaps and jumps of timestamps neither pad nor cut.
        frame.pts = None
        assert resampler is not None
        yield from map(_samples, resampler.resample(_averaged_if_unplaced(frame)))
    if resampler is not None:
        yield from map(_samples, resampler.resample(None))


def _averaged_if_unplaced(frame: Any) -> Any:
    """Return the frame, its channels averaged where FFmpeg does not know their positions and so cannot mix them."""
    import av

    if not frame.layout.name.endswith("channels"):
        return frame
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        values = values / np.float32(1 << (8 * values.dtype.itemsize - 1))
    mono = np.ascontiguousarray(values.mean(axis=0, dtype=np.float32)[None])
    mixed = av.AudioFrame.from_ndarray(mono, format="fltp", layout="mono")
    mixed.sample_rate = frame.sample_rate
    return mixed


def _samples(frame: Any) -> np.ndarray:
    return frame.to_ndarray()[0]


def _concatenated(blocks: Iterator[np.ndarray], wanted: int | None) -> np.ndarray:
    """Return float32 [T], T at most `wanted`."""
    parts, count = [], 0
    for block in blocks:
        parts.append(block)
        count += len(block)
        if wanted is not None and count >= wanted:
            break
        if 4 * count > MAX_CLIP_BYTES:
            limit = MAX_CLIP_BYTES / 4 / RATE / 3600
            raise RefusedError("error", f"more than {limit:.1f} hours of sound: end earlier with max_seconds")
    if not parts:
        return np.zeros(0, np.float32)
    return np.concatenate(parts)[:wanted].astype(np.float32) / np.float32(32768)
