"""Audio captions: an audio language model that is told transcript and sound tags describes what is heard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import read_prompt
from feature_extractors.models import checkpoint_resolution
from feature_extractors.titles import TextEncoded
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features

REAL = "Qwen/Qwen2-Audio-7B-Instruct"


@dataclass(frozen=True)
class AudioCaptions(TextEncoded):
    """The sound of each clip described in words, and the words as a vector.

    The audio branch of "Describe What You See" (arXiv 2508.09789): `transcripts` and `sound-tags` come first,
    Qwen-Audio hears the sound and is told both, and what it writes (`audio-captions.text`) goes through the text
    encoder. A transcript that is thought to be invented is told as "no speech".

    Attributes
    ----------
    checkpoint, revision
        Audio language model: a directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one on
        simulated data, else Qwen2-Audio-7B-Instruct.
    whisper, language
        Checkpoint and language of the transcripts, see `transcripts`.
    clap
        Checkpoint of the sound tags, see `sound-tags`.
    prompt
        Name of a file in `feature_extractors/text/prompts`, or the path of a text file; `{transcript}` and
        `{tags}` in it are replaced by what is known.
    max_seconds
        Sound from this time on is not listened to.
    max_new_tokens
        Longest caption.
    quantize
        `4bit`: the audio language model's weights in 4 bits (bitsandbytes, on a GPU).
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "audio-captions"
    feature: ClassVar[str] = "text, vector"
    paper: ClassVar[str] = "Describe What You See (arXiv 2508.09789)"
    licence: ClassVar[str] = "Qwen2-Audio-7B, clap-htsat-unfused: Apache-2.0; Whisper: MIT; bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = f"{REAL}, Whisper base, laion/clap-htsat-unfused, BAAI/bge-large-en-v1.5"

    checkpoint: str = "auto"
    whisper: str = "auto"
    clap: str = "auto"
    language: str = "en"
    prompt: str = "describe-audio"
    max_seconds: float = 240.0
    max_new_tokens: int = 96
    batch: int = 16
    revision: str | None = None
    quantize: Literal["none", "4bit"] = "none"

    def __post_init__(self) -> None:
        if self.batch < 1 or self.max_new_tokens < 1 or not self.max_seconds > 0:
            raise UserError(f"{self.name}: batch and max_new_tokens must be at least 1, max_seconds above 0")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        from feature_extractors.sound_tags import SoundTags
        from feature_extractors.transcripts import Transcripts

        return replace(
            super().resolved(simulated),
            checkpoint=checkpoint_resolution.resolved(self.checkpoint, simulated, REAL),
            whisper=Transcripts(checkpoint=self.whisper).resolved(simulated).checkpoint,
            clap=SoundTags(checkpoint=self.clap).resolved(simulated).checkpoint,
        )

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Caption the sound of all clips, then encode the captions."""
        from feature_extractors.pipeline.text_embedding import vectors_of

        return vectors_of(self.name, self.texts(source, context), context, self, title="audio caption vectors")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the captions themselves, a feature space of kind `text`."""
        from feature_extractors.media.audio import Listening
        from feature_extractors.media.pool import DecodePool
        from feature_extractors.models import quantization, qwen_audio
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.side_texts import reading
        from feature_extractors.pipeline.stage import Stage, chained, video_inputs
        from feature_extractors.pocket import QWEN_AUDIO
        from feature_extractors.sound_tags import SoundTags
        from feature_extractors.transcripts import Transcripts
        from protocols.features import FeatureSpace

        wanted, prompt = Listening(self.max_seconds), read_prompt(self.prompt)
        found = checkpoint_resolution.found(self.checkpoint, REAL, QWEN_AUDIO, context, self.revision, self.quantize)
        said = Transcripts(
            checkpoint=self.whisper, language=self.language, max_seconds=self.max_seconds, dtype=self.dtype
        ).texts(source, context)
        tags = SoundTags(checkpoint=self.clap).texts(source, context)
        config: dict[str, Any] = {
            "parents": [said.space.id, tags.space.id],
            "checkpoint": found.fingerprint,
            "loader": qwen_audio.VERSION,
            "prompt": prompt,
            "audio": wanted.key,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
            **quantization.key(self.quantize),
        }
        provenance = chained([said.space, tags.space], found.provenance)
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, provenance)
        model = partial(
            qwen_audio.AudioCaptioner,
            found,
            self.dtype,
            context.device,
            prompt,
            self.max_new_tokens,
            context.threads,
            self.quantize,
        )
        stage = Stage(
            space,
            f"audio captions ({found.name})",
            self.batch,
            model,
            reader=lambda workers: reading(DecodePool(workers, wanted), qwen_audio.Heard),
        )
        texts = run_stage(stage, _told(video_inputs(source, context), said, tags), context)
        return replace(texts, seconds=texts.seconds + said.seconds + tags.seconds)


def _told(clips: Inputs, *texts: Features) -> Inputs:
    """Add to each clip the texts that it has."""
    from feature_extractors.pipeline.side_texts import texts_of, told

    return told(clips, *(texts_of(one, clips.item_ids) for one in texts))
