"""Captions: a video language model describes each clip, a sentence encoder turns the text into a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import ChatOptions, FrameOptions, PixelOptions, TextExtractor
from feature_extractors.real_defaults import Auto

if TYPE_CHECKING:
    from feature_extractors.models.checkpoint.checkpoints import Checkpoint
    from protocols.features import Features


@dataclass(frozen=True)
class Captions(FrameOptions, PixelOptions, ChatOptions, TextExtractor):
    """Clips described by a video language model, the text turned into a vector.

    A chain of two cached stages, frames -> `captions.text` -> `captions.vector`; another text encoder reads the stored
    captions. The visual branch of "Describe What You See" (arXiv 2508.09789).

    Options: `FrameOptions`, `PixelOptions`, `ChatOptions`, `GenerationOptions`, `QuantizedModelOptions`,
    `TextEncoderOptions`.

    Attributes
    ----------
    checkpoint
        Also `pocket-small`, a smaller one, and `random-small`, its architecture with random weights.
    answers
        Last part of the name of the space that holds the model's answers.
    """

    name: ClassVar[str] = "captions"
    paper: ClassVar[str] = "Describe What You See (arXiv 2508.09789)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.CAPTIONER, defaults.TEXT_ENCODER)
    default_checkpoint: ClassVar[str] = defaults.CAPTIONER
    pocket: ClassVar[str] = "CAPTIONER"
    noun: ClassVar[str] = "caption"
    answers: ClassVar[str] = "text"

    autos: ClassVar[Mapping[str, Auto]] = {"prompt": Auto("describe", "describe-whole")}

    prompt: str = "auto"
    batch: int = 32

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the captions themselves, a feature space of kind `text`."""
        from feature_extractors.models import video_captioner

        checkpoint = self.locate(context)
        frames = self.select_frames(source, context)
        model = self.on_engine(video_captioner.Captioner, lambda: video_captioner.version(checkpoint))
        return self.run_model(self.answers, *model, checkpoint, frames, context, title="captions")

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files."""
        if self.checkpoint not in ("pocket-small", "random-small"):
            return super().locate(context, word, pocket, **how)
        found = super().locate(context, self.checkpoint.removesuffix("-small"), "CAPTIONER_SMALL", **how)
        return replace(found, name=self.checkpoint)
