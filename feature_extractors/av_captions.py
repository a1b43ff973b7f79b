"""Audio-visual captions: caption and audio caption of each clip in one text, turned into a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.audio_captions import AudioCaptions, SideTextOptions
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.options import ChatOptions, FrameOptions, PixelOptions, TextEncoderOptions
from feature_extractors.real_defaults import Auto

if TYPE_CHECKING:
    from feature_extractors.media.result import Failure
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features


@dataclass(frozen=True)
class AvCaptions(FrameOptions, PixelOptions, ChatOptions, SideTextOptions, TextEncoderOptions):
    """Caption and audio caption of each clip as one text, a line each, and the text as a vector.

    Vision and sound joined as in "Describe What You See" (arXiv 2508.09789). The captions are those of `captions` and
    `audio-captions` with the same options, taken from the store where these have been extracted. A clip with only one
    of them has that one alone and a note.

    Options: those of `captions` and `audio-captions`; `max_seconds`, `quantize`, `dtype` and `batch` are of both.

    Attributes
    ----------
    audio_checkpoint, audio_revision, audio_prompt, audio_max_new_tokens
        Of `audio-captions`, without `audio_`; those of these names without it are of `captions`.
    audio_engine, audio_endpoint
        Of `audio-captions`, too; "": those of `captions`.
    """

    name: ClassVar[str] = "av-captions"
    paper: ClassVar[str] = "Describe What You See (arXiv 2508.09789)"
    checkpoints: ClassVar[tuple[str, ...]] = (Captions.default_checkpoint, *AudioCaptions.checkpoints)
    default_checkpoint: ClassVar[str] = Captions.default_checkpoint
    pocket: ClassVar[str] = Captions.pocket

    autos: ClassVar[Mapping[str, Auto]] = {
        "prompt": Auto("describe", "describe-whole"),
        **{f"audio_{name}": replace(rule, by="audio_checkpoint") for name, rule in AudioCaptions.autos.items()},
    }

    prompt: str = "auto"
    audio_checkpoint: str = AudioCaptions.checkpoint
    audio_revision: str | None = AudioCaptions.revision
    audio_prompt: str = AudioCaptions.prompt
    audio_max_new_tokens: int | None = AudioCaptions.max_new_tokens
    audio_engine: Literal["", "local", "openai", "vllm"] = ""
    audio_endpoint: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.audio  # its options are checked by itself

    @property
    def visual(self) -> Captions:
        """The extractor of captions."""
        return self.part(Captions)

    @property
    def audio(self) -> AudioCaptions:
        """The extractor of audio captions."""
        engine, endpoint = self.audio_engine or self.engine, self.audio_endpoint or self.endpoint
        return self.part(AudioCaptions, "audio_", engine=engine, endpoint=endpoint)

    def options(self) -> dict[str, Any]:
        """All options, without the second address."""
        return {name: value for name, value in super().options().items() if name != "audio_endpoint"}

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        audio = self.audio.resolved(simulated)
        return replace(super().resolved(simulated), audio_checkpoint=audio.checkpoint)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Caption all clips and their sound, then encode both as one text."""
        visual, audio = self.visual.texts(source, context), self.audio.texts(source, context)
        return self.encode(joined(visual, audio), "audio-visual caption", context)


class TextWithNote(str):
    """A text with a remark for the reader of its row."""

    note = ""


def joined(visual: Features, audio: Features) -> Inputs:
    """Put the captions of a clip under each other; where one is missing the other stands alone, with a note."""
    from feature_extractors.media.result import Failure
    from feature_extractors.pipeline.stage import Inputs, text_hash

    payloads: list[TextWithNote] = []
    failures: list[Failure | None] = []
    rows = zip(visual.values, visual.ok, visual.reason, audio.values, audio.ok, audio.reason, strict=True)
    for at, (caption, has_caption, no_caption, sound, has_sound, no_sound) in enumerate(rows):
        text = TextWithNote("\n".join([caption] * bool(has_caption) + [sound] * bool(has_sound)))
        why = [f"no caption: {no_caption}"] * (not has_caption) + [f"no audio caption: {no_sound}"] * (not has_sound)
        text.note = "; ".join(why)
        payloads.append(text)
        failures.append(None if text else Failure(str(visual.status[at]), text.note))
    content = [text_hash(text) if text else "" for text in payloads]
    return Inputs(visual.item_ids, payloads, content, failures, [visual, audio])
