"""Audio-visual captions: what is seen and what is heard, in words, in one vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from feature_extractors.audio_captions import AudioCaptions
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.titles import TextEncoded

if TYPE_CHECKING:
    from feature_extractors.media.result import Failure
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features


@dataclass(frozen=True)
class AvCaptions(TextEncoded):
    """Caption and audio caption of each clip as one text, a line each, and the text as a vector.

    Vision and sound joined as in "Describe What You See" (arXiv 2508.09789). The captions are those of `captions` and
    `audio-captions` with the same options, taken from the store where these have been extracted. A clip with only one
    of them has that one alone and a note.

    Attributes
    ----------
    checkpoint, revision, prompt, frames, frame_clip, max_new_tokens
        Of `captions`.
    audio_checkpoint, audio_revision, audio_prompt, audio_max_new_tokens, whisper, language, clap
        Of `audio-captions`, without `audio_` before some.
    max_seconds
        Of both: what comes from this time on is neither looked at nor listened to.
    quantize
        `4bit`: both language models' weights in 4 bits (bitsandbytes, on a GPU).
    batch
        Clips per call of either model; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "av-captions"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "Describe What You See (arXiv 2508.09789)"
    licence: ClassVar[str] = f"Qwen2.5-VL-3B: Qwen Research License; {AudioCaptions.licence}"
    checkpoints: ClassVar[str] = f"Qwen/Qwen2.5-VL-3B-Instruct, {AudioCaptions.checkpoints}"

    checkpoint: str = Captions.checkpoint
    revision: str | None = None
    prompt: str = Captions.prompt
    frames: str = Captions.frames
    max_new_tokens: int = Captions.max_new_tokens
    audio_checkpoint: str = AudioCaptions.checkpoint
    audio_revision: str | None = None
    audio_prompt: str = AudioCaptions.prompt
    max_seconds: float = AudioCaptions.max_seconds
    audio_max_new_tokens: int = AudioCaptions.max_new_tokens
    whisper: str = AudioCaptions.whisper
    language: str = AudioCaptions.language
    clap: str = AudioCaptions.clap
    quantize: Literal["none", "4bit"] = "none"
    batch: int = AudioCaptions.batch
    frame_clip: str = Captions.frame_clip

    def __post_init__(self) -> None:
        # options that make no sense are refused by the two that they belong to
        _ = self.seen, self.heard

    @property
    def seen(self) -> Captions:
        """The extractor of captions."""
        return Captions(
            checkpoint=self.checkpoint,
            revision=self.revision,
            prompt=self.prompt,
            frames=self.frames,
            frame_clip=self.frame_clip,
            max_seconds=self.max_seconds,
            max_new_tokens=self.max_new_tokens,
            dtype=self.dtype,
            quantize=self.quantize,
            batch=self.batch,
        )

    @property
    def heard(self) -> AudioCaptions:
        """The extractor of audio captions."""
        return AudioCaptions(
            checkpoint=self.audio_checkpoint,
            revision=self.audio_revision,
            prompt=self.audio_prompt,
            max_seconds=self.max_seconds,
            max_new_tokens=self.audio_max_new_tokens,
            whisper=self.whisper,
            language=self.language,
            clap=self.clap,
            dtype=self.dtype,
            quantize=self.quantize,
            batch=self.batch,
        )

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        seen, heard = self.seen.resolved(simulated), self.heard.resolved(simulated)
        return replace(
            super().resolved(simulated),
            checkpoint=seen.checkpoint,
            frame_clip=seen.frame_clip,
            audio_checkpoint=heard.checkpoint,
            whisper=heard.whisper,
            clap=heard.clap,
        )

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Caption all clips and their sound, then encode both as one text."""
        from feature_extractors.pipeline.text_embedding import text_vectors

        seen, heard = self.seen.texts(source, context), self.heard.texts(source, context)
        vectors = text_vectors(
            f"{self.name}.vector",
            joined(seen, heard),
            [seen.space, heard.space],
            context,
            checkpoint=self.text_encoder,
            revision=self.text_revision,
            dtype=self.dtype,
            title="audio-visual caption vectors",
        )
        return replace(vectors, seconds=vectors.seconds + seen.seconds + heard.seconds)


class Noted(str):
    """A text with what a reader should know about it."""

    note = ""


def joined(seen: Features, heard: Features) -> Inputs:
    """Put the captions of a clip under each other; where one is missing the other stands alone, with a note."""
    from feature_extractors.media.result import Failure
    from feature_extractors.pipeline.stage import Inputs, text_hash

    payloads: list[Noted] = []
    failures: list[Failure | None] = []
    rows = zip(seen.values, seen.ok, seen.reason, heard.values, heard.ok, heard.reason, strict=True)
    for at, (caption, sees, unseen, sound, hears, unheard) in enumerate(rows):
        text = Noted("\n".join([caption] * bool(sees) + [sound] * bool(hears)))
        why = [f"no caption: {unseen}"] * (not sees) + [f"no audio caption: {unheard}"] * (not hears)
        text.note = "; ".join(why)
        payloads.append(text)
        failures.append(None if text else Failure(str(seen.status[at]), text.note))
    return Inputs(seen.item_ids, payloads, [text_hash(text) if text else "" for text in payloads], failures)
