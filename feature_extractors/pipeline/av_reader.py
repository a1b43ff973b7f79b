"""Clips with their sound: frames and samples of one file, read side by side for a model that takes both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_extractors.media.audio import Listening, Sound
from feature_extractors.media.result import Clip, Failure

if TYPE_CHECKING:
    from feature_extractors.media.pool import DecodePool, Part
    from feature_extractors.pipeline.frame_selection import Look
    from feature_extractors.pipeline.stage import Reader

# With these there is nothing to hear, today and tomorrow; any other failure of the sound may go away.
UNHEARD = ("empty", "undecodable")


@dataclass(frozen=True, eq=False)
class Watched:
    """Frames of a clip and its sound.

    Attributes
    ----------
    clip
        Decoded frames.
    sound
        Decoded sound; None where there is nothing to hear.
    unheard
        Why there is no sound.
    """

    clip: Clip
    sound: Sound | None
    unheard: str = ""

    @property
    def note(self) -> str:
        """What a reader should know although the clip was looked at."""
        notes = [self.clip.note, f"frames alone: {self.unheard}" if self.sound is None else self.sound.note]
        return "; ".join(note for note in notes if note)


def watched(clip: Clip | Failure, sound: Sound | Failure) -> Watched | Failure:
    """Put together what was read of one file.

    A clip without frames is a failure. One without sound, or with digital silence alone, is looked at and not heard.
    Where reading the sound failed otherwise (a decoder that crashed or hung) the clip fails, to be tried again.
    """
    if isinstance(clip, Failure):
        return clip
    if not isinstance(sound, Failure):
        return Watched(clip, sound)
    if sound.status in UNHEARD:
        return Watched(clip, None, sound.reason)
    return Failure(sound.status, f"sound: {sound.reason}")


@contextmanager
def watching(workers: int, seen: Look) -> Iterator[Reader]:
    """Read files with two pools of decoding processes while the stage runs, one for frames and one for sound.

    Parameters
    ----------
    workers
        Number of processes of each.
    seen
        Which frames; the sound ends where its policy says that the frames do.
    """
    from feature_extractors.media.pool import DecodePool

    with seen.pool(workers) as seeing, DecodePool(workers, Listening(seen.policy.seconds)) as hearing:
        yield _Watching(seeing, hearing)


class _Watching:
    def __init__(self, seeing: DecodePool, hearing: DecodePool) -> None:
        self._seeing, self._hearing = seeing, hearing

    @property
    def busy(self) -> float:
        """Seconds of decoding so far."""
        return self._seeing.busy + self._hearing.busy

    def map(self, payloads: Sequence[Path | Part], ahead: int) -> Iterator[Watched | Failure]:
        """Yield one `Watched` or failure a file, in order."""
        paths = [one if isinstance(one, Path) else one.path for one in payloads]
        clips: Iterator[Any] = self._seeing.map(payloads, ahead)
        sounds: Iterator[Any] = self._hearing.map(paths, ahead)
        for clip, sound in zip(clips, sounds, strict=True):
            yield watched(clip, sound)
