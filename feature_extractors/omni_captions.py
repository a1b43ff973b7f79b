"""Omni captions: descriptions by one model that takes frames and sound at once, turned into a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import ChatOptions, FrameOptions, PixelOptions, TextExtractor
from feature_extractors.real_defaults import Auto

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class OmniCaptions(FrameOptions, PixelOptions, ChatOptions, TextExtractor):
    """Frames and sound of each clip described by one model that takes both, and the words as a vector.

    The open question of "Describe What You See" (arXiv 2508.09789): one omni model against the chain of models that
    `av-captions` is. A clip without sound, or with digital silence alone, is described from its frames, with a note.
    Of the omni model only the thinker is loaded. The sound ends where the frame policy says that the frames do.

    Options: `FrameOptions`, `PixelOptions`, `ChatOptions`, `GenerationOptions`, `QuantizedModelOptions`,
    `TextEncoderOptions`.
    """

    name: ClassVar[str] = "omni-captions"
    paper: ClassVar[str] = "Qwen2.5-Omni (arXiv 2503.20215); Describe What You See (arXiv 2508.09789)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.OMNI, defaults.TEXT_ENCODER)
    default_checkpoint: ClassVar[str] = defaults.OMNI
    pocket: ClassVar[str] = "OMNI"
    noun: ClassVar[str] = "omni caption"

    autos: ClassVar[Mapping[str, Auto]] = {
        "prompt": Auto("describe-omni", "describe-omni-whole"),
        "max_new_tokens": Auto(128, 256, unset=None),
    }

    prompt: str = "auto"

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the texts themselves, a feature space of kind `text`."""
        from feature_extractors.models import qwen_omni
        from feature_extractors.pipeline.av_reader import with_sound

        checkpoint = self.locate(context)
        inputs = with_sound(self.select_frames(source, context))
        model = self.on_engine(qwen_omni.OmniCaptioner, lambda: qwen_omni.VERSION)
        return self.run_model("text", *model, checkpoint, inputs, context, title="omni captions")
