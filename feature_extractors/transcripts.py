"""Transcripts: speech of each clip by Whisper, turned into a vector by a sentence encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from feature_extractors import pocket as folders
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import AudioOptions, CheckpointOptions, TextExtractor
from feature_extractors.real_defaults import Auto, option
from feature_extractors.text import repetition

if TYPE_CHECKING:
    from feature_extractors.media.result import Failure
    from feature_extractors.models.checkpoint.checkpoints import Checkpoint
    from feature_extractors.models.whisper import Window
    from protocols.features import Features


@dataclass(frozen=True)
class Speech:
    """Thresholds at which a window of a transcript counts as speech; other windows are thought to be invented.

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
class Transcripts(AudioOptions, CheckpointOptions, TextExtractor):
    """Speech of each clip as text, and the text as a vector: the words of the sound, without the sound.

    A chain of three cached stages. `transcripts.windows`: all words of Whisper for each thirty seconds, with its
    no-speech probability, mean log-probability and compression ratio, as JSON. `transcripts.text`: the windows that
    are speech; a clip without any has status `empty` and a reason, so that words invented over music and silence are
    kept for reading and are never embedded as speech. `transcripts.vector`. Other thresholds or another text
    encoder do not transcribe again.

    Greedy decoding at temperature 0, each window without the text of the one before (which lets errors spread). In
    bfloat16, which openai-whisper cannot do, Whisper stays in float32.

    Options: `AudioOptions`, `CheckpointOptions`, `TextEncoderOptions`.

    Attributes
    ----------
    checkpoint
        Also a model of openai-whisper (`tiny` to `turbo`) or a `.pt` file; a directory may hold a Qwen3-ASR too; no
        hub id; `auto` on real data: `base`.
    language
        Code like `en`, or `auto`: each window in the language that Whisper hears in it. Empty: `auto` with real
        checkpoints, `en` with the small one of this repository, which knows no other.
    no_speech, logprob, compression
        A window counts as speech up to this no-speech probability, from this mean log-probability and up to this
        compression ratio on. Whisper's own thresholds. Random weights are never sure: they are not judged.
    """

    name: ClassVar[str] = "transcripts"
    paper: ClassVar[str] = "Whisper (arXiv 2212.04356)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.WHISPER, defaults.TEXT_ENCODER)
    default_checkpoint: ClassVar[str] = defaults.WHISPER
    pocket: ClassVar[str] = "WHISPER"
    noun: ClassVar[str] = "transcript"

    autos: ClassVar[Mapping[str, Auto]] = {"language": Auto("en", "auto", unset="")}

    language: str = ""
    no_speech: float = 0.6
    logprob: float = -1.0
    compression: float = repetition.LIMIT

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the speech of each clip, a feature space of kind `text`; clips without speech have a reason."""
        from feature_extractors.pipeline.run import run_text_stage

        windows = self.windows(source, context)
        random = self.locate(context).random
        judge = None if random else Speech(self.no_speech, self.logprob, self.compression)
        config = {"speech": vars(judge) if judge else None}
        return run_text_stage(
            f"{self.name}.text",
            self.code_version,
            "speech of transcripts",
            windows,
            config,
            partial(_speech, judge),
            context,
        )

    def windows(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return all words of the model, as JSON (`models.whisper.parse` reads it), of kind `text`."""
        from feature_extractors.models import qwen3_asr, whisper

        checkpoint = self.locate(context)
        loader: Any = qwen3_asr if qwen3_asr.serves(checkpoint) else whisper
        language, dtype = option(self, "language"), option(self, "dtype")
        dtype = dtype if loader is qwen3_asr or dtype == "float16" else "float32"
        return self.run_model(
            "windows",
            loader.Transcriber,
            loader.VERSION,
            checkpoint,
            self.select_audio(source, context),
            context,
            {"language": language, "dtype": dtype},
            "transcripts",
            language=language,
            dtype=dtype,
        )

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's file, of openai-whisper's list too."""
        from feature_extractors.models import whisper

        word = self.default_checkpoint if self.checkpoint == "auto" else self.checkpoint
        return whisper.resolve(word, folders.WHISPER)


@dataclass(frozen=True)
class SpeechOptions(Extractor):
    """Transcripts as side texts.

    Attributes
    ----------
    whisper, language
        Checkpoint and language of the transcripts, see `transcripts`.
    """

    autos: ClassVar[Mapping[str, Auto]] = {"language": replace(Transcripts.autos["language"], by="whisper")}

    whisper: str = Transcripts.checkpoint
    language: str = Transcripts.language

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket Whisper on simulated data, by the real one elsewhere."""
        whisper = Transcripts(checkpoint=self.whisper).resolved(simulated).checkpoint
        return replace(super().resolved(simulated), whisper=whisper)

    def transcripts(self, source: ItemSource, context: ExtractContext, **options: Any) -> Features:
        """Return the transcripts of all clips, made with further options of `transcripts`."""
        return Transcripts(checkpoint=self.whisper, language=option(self, "language"), **options).texts(source, context)


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
