"""Reader of clips with their sound: two pools of decoding processes side by side, one for frames, one for samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from feature_extractors.media.audio import Listening
from feature_extractors.media.av_clip import AvClip, join_frames_and_sound
from feature_extractors.media.pool import DecodePool, Part
from feature_extractors.media.remote_file import Source
from feature_extractors.media.result import Failure
from feature_extractors.pipeline.frame_selection import FrameInputs
from feature_extractors.pipeline.stage import Inputs, Reader


def with_sound(frames: FrameInputs) -> Inputs:
    """Add to the frames of each clip its sound, which ends where the frame policy says that the frames do."""
    opened, wanted = frames.reader, Listening(frames.policy.seconds)
    assert opened is not None

    @contextmanager
    def reader(workers: int) -> Iterator[Reader]:
        with opened(workers) as frame_pool, DecodePool(workers, wanted, frames.files) as sound_pool:
            yield _AvReader(frame_pool, sound_pool)

    return replace(frames, reader=reader, config={**frames.config, "audio": wanted.key})


class _AvReader:
    def __init__(self, frame_pool: Any, sound_pool: DecodePool) -> None:
        self._frame_pool, self._sound_pool = frame_pool, sound_pool

    @property
    def busy(self) -> float:
        """Seconds of decoding so far."""
        return self._frame_pool.busy + self._sound_pool.busy

    def map(self, payloads: Sequence[Source | Part], ahead: int) -> Iterator[AvClip | Failure]:
        """Yield one clip with its sound or failure a file, in order."""
        paths = [one.path if isinstance(one, Part) else one for one in payloads]
        clips: Iterator[Any] = self._frame_pool.map(payloads, ahead)
        sounds: Iterator[Any] = self._sound_pool.map(paths, ahead)
        for clip, sound in zip(clips, sounds, strict=True):
            yield join_frames_and_sound(clip, sound)
