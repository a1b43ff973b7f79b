"""Audio captions: descriptions of the sound by an audio language model, given transcript and sound tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import AudioOptions, ChatOptions, TextExtractor
from feature_extractors.real_defaults import Auto, option
from feature_extractors.sound_tags import SoundTags
from feature_extractors.transcripts import SpeechOptions

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class SideTextOptions(SpeechOptions):
    """Transcripts and sound tags as side texts.

    Attributes
    ----------
    clap
        Checkpoint of the sound tags, see `sound-tags`.
    """

    clap: str = SoundTags.checkpoint

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket CLAP on simulated data, by the real one elsewhere."""
        clap = SoundTags(checkpoint=self.clap).resolved(simulated).checkpoint
        return replace(super().resolved(simulated), clap=clap)


@dataclass(frozen=True)
class AudioCaptions(AudioOptions, ChatOptions, SideTextOptions, TextExtractor):
    """The sound of each clip described in words, and the words as a vector.

    The audio branch of "Describe What You See" (arXiv 2508.09789): `transcripts` and `sound-tags` come first,
    Qwen-Audio is given the sound and both texts, and its answer (`audio-captions.text`) goes through the text encoder.
    A transcript that is thought to be invented is given as "no speech".

    In the prompt `{transcript}` and `{tags}` are replaced by the side texts. Options: `AudioOptions`,
    `ChatOptions`, `GenerationOptions`, `SideTextOptions`, `SpeechOptions`, `QuantizedModelOptions`,
    `TextEncoderOptions`.
    """

    name: ClassVar[str] = "audio-captions"
    paper: ClassVar[str] = "Describe What You See (arXiv 2508.09789)"
    checkpoints: ClassVar[tuple[str, ...]] = (
        defaults.QWEN_AUDIO,
        defaults.WHISPER,
        defaults.CLAP,
        defaults.TEXT_ENCODER,
    )
    default_checkpoint: ClassVar[str] = defaults.QWEN_AUDIO
    pocket: ClassVar[str] = "QWEN_AUDIO"
    noun: ClassVar[str] = "audio caption"

    autos: ClassVar[Mapping[str, Auto]] = {
        "prompt": Auto("describe-audio", "describe-audio-whole"),
        "max_new_tokens": Auto(96, 256, unset=None),
    }

    prompt: str = "auto"

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the captions themselves, a feature space of kind `text`."""
        from feature_extractors.models import qwen_audio
        from feature_extractors.pipeline.side_texts import with_side_texts

        checkpoint = self.locate(context)
        heard: Any = {"max_seconds": self.max_seconds, "dtype": option(self, "dtype")}
        speech = self.transcripts(source, context, **heard)
        tags = SoundTags(checkpoint=self.clap, **heard).texts(source, context)
        inputs = with_side_texts(self.select_audio(source, context), qwen_audio.SoundWithTexts, speech, tags)
        model = self.on_engine(qwen_audio.AudioCaptioner, lambda: qwen_audio.VERSION)
        return self.run_model("text", *model, checkpoint, inputs, context, title="audio captions")
