"""Clip with its sound: frames and samples of one file, for a model that takes both."""

from __future__ import annotations

from dataclasses import dataclass

from feature_extractors.media.audio import Sound
from feature_extractors.media.result import Clip, Failure

# A file with one of these has no sound, today and tomorrow; any other failure of the sound may go away.
SILENT = ("empty", "undecodable")


@dataclass(frozen=True, eq=False)
class AvClip:
    """Frames of a clip and its sound.

    Attributes
    ----------
    clip
        Decoded frames.
    sound
        Decoded sound; None where there is none.
    no_sound
        Why there is no sound.
    """

    clip: Clip
    sound: Sound | None
    no_sound: str = ""

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features."""
        notes = [self.clip.note, f"frames alone: {self.no_sound}" if self.sound is None else self.sound.note]
        return "; ".join(note for note in notes if note)


def join_frames_and_sound(clip: Clip | Failure, sound: Sound | Failure) -> AvClip | Failure:
    """Join frames and sound of one file.

    A clip without frames is a failure. One without sound, or with digital silence alone, keeps its frames. Where
    reading the sound failed otherwise (a decoder that crashed or hung) the clip fails, to be tried again.
    """
    if isinstance(clip, Failure):
        return clip
    if not isinstance(sound, Failure):
        return AvClip(clip, sound)
    if sound.status in SILENT:
        return AvClip(clip, None, sound.reason)
    return Failure(sound.status, f"sound: {sound.reason}")
