"""Qwen2-Audio (arXiv 2407.10759): captions of sound by an audio language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, unreadable
from feature_extractors.models.generation import Answering
from feature_extractors.models.token_batching import Call
from feature_extractors.models.video_lm import chat_turn, for_preparing, marks_of
from feature_extractors.text.plain import cut_note, plain
from protocols.features import join_notes

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
# The shortest sound that makes two audio tokens; the model misreads a single one.
SHORTEST = RATE // 5
# Most characters of a transcript or of tags in a prompt; four minutes of fast speech have fewer.
LONGEST = 5000
# Words of a prompt that stand for missing side texts.
NO_SPEECH, NO_TAGS = "no speech", "unknown"


@dataclass(frozen=True, eq=False)
class SoundWithTexts:
    """A sound and its side texts.

    Attributes
    ----------
    sound
        Decoded.
    transcript, tags
        Texts; None where there is none.
    """

    sound: Sound
    transcript: str | None
    tags: str | None

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features."""
        return join_notes(self.sound.note, cut_note("transcript", self.transcript, LONGEST))


def audio_feature_extractor(processor: Any, checkpoint: Checkpoint) -> Any:
    """Return the audio feature extractor of a processor.

    Raises
    ------
    CheckpointError
        If there is none that takes sound of 16 kHz.
    """
    found: Any = getattr(processor, "feature_extractor", None)
    if getattr(found, "sampling_rate", None) != RATE:
        raise unreadable(checkpoint, ValueError(f"its processor does not take sound of {RATE} Hz"))
    return found


def filled_up(samples: np.ndarray) -> np.ndarray:
    """Fill a very short sound up with silence, to `SHORTEST`."""
    return np.pad(samples, (0, max(0, SHORTEST - len(samples))))


def filled_prompt(prompt: str, sound: SoundWithTexts, marks: Sequence[str]) -> str:
    """Put the side texts into a prompt, as plain words without `marks`."""
    marks = [*marks, "{tags}"]
    transcript, tags = (plain(words or "", marks, LONGEST) for words in (sound.transcript, sound.tags))
    return prompt.replace("{transcript}", transcript or NO_SPEECH).replace("{tags}", tags or NO_TAGS)


class AudioCaptioner(Answering):
    """Sounds to text, described: one chat turn of sound and prompt each; `{transcript}` and `{tags}` stand for them.

    A sound longer than the checkpoint's own window becomes several of them, one after the other. The processor must
    take sound of 16 kHz.
    """

    auto: ClassVar[str] = "AutoModelForMultimodalLM"

    def _set_up(self, checkpoint: Checkpoint) -> None:
        self._front = for_preparing(self.processor)
        self._marks = marks_of(self.processor.tokenizer)
        chat_turn(self._front, self._prompt, ["audio"])  # before the first sound: does the template run?
        self._window = int(audio_feature_extractor(self.processor, checkpoint).n_samples)

    def prepare(self, batch: Sequence[SoundWithTexts]) -> list[Call]:
        """Model inputs of a batch, in one call."""
        parts = [self._parts(one.sound.samples) for one in batch]
        inputs = self._front(
            text=[self.turn(one, len(cut)) for one, cut in zip(batch, parts, strict=True)],
            audio=[part for cut in parts for part in cut],
            sampling_rate=RATE,
            padding=True,
            return_tensors="pt",
        )
        return [(list(range(len(batch))), dict(inputs))]

    def _parts(self, samples: np.ndarray) -> list[np.ndarray]:
        """Cut into windows of the checkpoint; what is very short is filled up with silence."""
        cut = [samples[start : start + self._window] for start in range(0, len(samples), self._window)]
        return [filled_up(part) for part in cut]

    def turn(self, sound: SoundWithTexts, parts: int) -> str:
        """One turn of the user, the sound first, as the checkpoint's own chat template writes it."""
        return chat_turn(self._front, filled_prompt(self._prompt, sound, self._marks), ["audio"] * parts)
