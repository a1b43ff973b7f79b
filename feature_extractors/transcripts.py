"""Transcripts: Whisper writes down what is said in each clip, a sentence encoder turns the text into a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models import checkpoint_resolution
from feature_extractors.text import repetition
from feature_extractors.titles import TextEncoded
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.result import Failure
    from feature_extractors.models.checkpoints import Checkpoint
    from feature_extractors.models.whisper import Window
    from protocols.features import Features

REAL = "base"


@dataclass(frozen=True)
class Speech:
    """When a window of a transcript counts as speech; what does not is thought to be invented.

    Stricter than `whisper.transcribe`, which keeps a window of high no-speech probability when it is sure of the words:
    words invented over music often are that sure.

    Attributes
    ----------
    no_speech
        Highest probability that nobody speaks.
    logprob
        Lowest mean log-probability of the tokens.
    compression
        Highest ratio of compression: above it the text repeats itself.
    """

    no_speech: float
    logprob: float
    compression: float

    def doubt(self, window: Window) -> str:
        """Return why a window is no speech, "" for speech; first comes what says most about the sound."""
        if window.no_speech > self.no_speech:
            return "no speech"
        if not window.text:
            return "no words"
        if window.compression > self.compression:
            return "no speech: the words repeat themselves"
        return "no speech: unsure of every word" if window.logprob < self.logprob else ""


@dataclass(frozen=True)
class Transcripts(TextEncoded):
    """What is said in each clip, as text, and the text as a vector: the words of the sound, without the sound.

    A chain of three cached stages. `transcripts.windows`: all that Whisper says of each thirty seconds, with its
    no-speech probability, mean log-probability and compression ratio, as JSON. `transcripts.text`: the windows that
    are speech; a clip without any has status `empty` and a reason, so that words invented over music and silence are
    kept to be looked at and are never embedded as speech. `transcripts.vector`. Other thresholds or another text
    encoder do not listen again.

    Greedy decoding at temperature 0, each window without the text of the one before (which lets errors spread).

    Attributes
    ----------
    checkpoint
        A model of openai-whisper (`tiny` to `turbo`), a `.pt` file, a directory, `pocket`, `random`; `auto`: the pocket
        one on simulated data, else `base`.
    language
        Code like `en`, or `auto`: each window in the language that Whisper hears in it.
    no_speech, logprob, compression
        A window counts as speech up to this no-speech probability, from this mean log-probability and up to this
        compression ratio on. Whisper's own thresholds. Random weights are never sure: they are not judged.
    max_seconds
        Sound from this time on is not listened to; none: all of it is.
    dtype
        Of the arithmetic; in bfloat16, which openai-whisper cannot do, Whisper stays in float32.
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "transcripts"
    feature: ClassVar[str] = "text, vector"
    paper: ClassVar[str] = "Whisper (arXiv 2212.04356)"
    licence: ClassVar[str] = "Whisper: MIT; bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = f"Whisper {REAL}, BAAI/bge-large-en-v1.5"

    checkpoint: str = "auto"
    language: str = "en"
    no_speech: float = 0.6
    logprob: float = -1.0
    compression: float = repetition.LIMIT
    max_seconds: float | None = 240.0
    batch: int = 16

    def __post_init__(self) -> None:
        if self.batch < 1 or not (self.max_seconds is None or self.max_seconds > 0):
            raise UserError("transcripts.batch must be at least 1, transcripts.max_seconds above 0")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        return replace(super().resolved(simulated), checkpoint=checkpoint)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Transcribe all clips, then encode what is said."""
        from feature_extractors.pipeline.text_embedding import vectors_of

        return vectors_of(self.name, self.texts(source, context), context, self, title="transcript vectors")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return what is said, a feature space of kind `text`; clips without speech have none, and a reason."""
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, stage_inputs
        from protocols.features import FeatureSpace

        windows = self.windows(source, context)
        judge = None if self._found().twin else Speech(self.no_speech, self.logprob, self.compression)
        config = {"parents": [windows.space.id], "speech": vars(judge) if judge else None}
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, windows.space.provenance)
        stage = Stage(space, "speech of transcripts", 64, lambda: partial(_speech, judge))
        texts = run_stage(stage, stage_inputs(windows), context)
        return replace(texts, seconds=texts.seconds + windows.seconds)

    def windows(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return all that Whisper says, as JSON (`backbones.whisper.parse` reads it), of kind `text`."""
        from feature_extractors.media.audio import Listening
        from feature_extractors.media.pool import DecodePool
        from feature_extractors.models import whisper
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, video_inputs
        from protocols.features import FeatureSpace

        found, wanted = self._found(), Listening(self.max_seconds)
        dtype = "float16" if self.dtype == "float16" else "float32"
        config: dict[str, Any] = {
            "parents": [],
            "checkpoint": found.fingerprint,
            "loader": whisper.VERSION,
            "audio": wanted.key,
            "language": self.language,
            "dtype": dtype,
        }
        space = FeatureSpace(f"{self.name}.windows", self.code_version, "text", config, found.provenance)
        model = partial(whisper.Transcriber, found, dtype, context.device, self.language, context.threads)
        stage = Stage(
            space, f"transcripts ({found.name})", self.batch, model, reader=lambda workers: DecodePool(workers, wanted)
        )
        return run_stage(stage, video_inputs(source, context), context)

    def _found(self) -> Checkpoint:
        from feature_extractors.models import whisper
        from feature_extractors.pocket import WHISPER

        return whisper.resolve(checkpoint_resolution.resolved(self.checkpoint, False, REAL), WHISPER)


def _speech(judge: Speech | None, transcripts: Sequence[str]) -> list[str | Failure]:
    """Keep the windows that are speech; without a judge all of them."""
    from feature_extractors.media.result import Failure
    from feature_extractors.models.whisper import parse

    kept: list[str | Failure] = []
    for windows in map(parse, transcripts):
        doubts = [judge.doubt(window) if judge else "" for window in windows]
        text = " ".join(window.text for window, doubt in zip(windows, doubts, strict=True) if not doubt and window.text)
        kept.append(text or Failure("empty", next(filter(None, doubts), "no words")))
    return kept
