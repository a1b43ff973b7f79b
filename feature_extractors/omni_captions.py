"""Omni captions: one model that sees and hears a clip at once describes it, a sentence encoder makes a vector of it."""

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
    from protocols.features import Features

REAL = "Qwen/Qwen2.5-Omni-3B"


@dataclass(frozen=True)
class OmniCaptions(TextEncoded):
    """Frames and sound of each clip described by one model that takes both, and the words as a vector.

    The open question of "Describe What You See" (arXiv 2508.09789): one omni model against the chain of models that
    `av-captions` is. A clip without sound, or with digital silence alone, is described from its frames, with a note.

    Attributes
    ----------
    checkpoint, revision
        Omni model: a directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one on simulated
        data, else Qwen2.5-Omni-3B. Only its thinker is loaded.
    prompt
        Name of a file in `feature_extractors/text/prompts`, or the path of a text file.
    frames
        Frame policy, see `frames.py`.
    max_seconds
        What comes from this time of a clip on is neither looked at nor listened to, unless the policy sets its own
        end; none: all is.
    frame_clip
        Checkpoint of the CLIP that chooses frames with `clip-topk`, as of `clip`.
    max_new_tokens
        Longest text.
    quantize
        `4bit`: the omni model's weights in 4 bits (bitsandbytes, on a GPU).
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "omni-captions"
    feature: ClassVar[str] = "text, vector"
    paper: ClassVar[str] = "Qwen2.5-Omni (arXiv 2503.20215); Describe What You See (arXiv 2508.09789)"
    licence: ClassVar[str] = "Qwen2.5-Omni-3B: Qwen Research License; bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = f"{REAL}, BAAI/bge-large-en-v1.5"

    checkpoint: str = "auto"
    prompt: str = "describe-omni"
    frames: str = "uniform:8"
    max_seconds: float | None = 240.0
    max_new_tokens: int = 128
    batch: int = 16
    revision: str | None = None
    quantize: Literal["none", "4bit"] = "none"
    frame_clip: str = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1 or self.max_new_tokens < 1:
            raise UserError(f"{self.name}: batch and max_new_tokens must be at least 1")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        frame_clip = checkpoint_resolution.choosing(self.frames, self.frame_clip, simulated)
        return replace(super().resolved(simulated), checkpoint=checkpoint, frame_clip=frame_clip)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Describe all clips, then encode the texts."""
        from feature_extractors.pipeline.text_embedding import vectors_of

        return vectors_of(self.name, self.texts(source, context), context, self, title="omni caption vectors")

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the texts themselves, a feature space of kind `text`."""
        from feature_extractors.media import video
        from feature_extractors.media.audio import Listening
        from feature_extractors.models import quantization, qwen_omni
        from feature_extractors.pipeline.av_reader import watching
        from feature_extractors.pipeline.frame_selection import looked_at
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage
        from feature_extractors.pocket import OMNI
        from protocols.features import FeatureSpace

        prompt = read_prompt(self.prompt)
        found = checkpoint_resolution.found(self.checkpoint, REAL, OMNI, context, self.revision, self.quantize)
        seen = looked_at(self.frames, self.max_seconds, self.frame_clip, source, context)
        config: dict[str, Any] = {
            "parents": seen.parent_ids,
            "checkpoint": found.fingerprint,
            "loader": qwen_omni.VERSION,
            "prompt": prompt,
            "frames": seen.key,
            "decoder": video.decoder_key(),
            "audio": Listening(seen.policy.seconds).key,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
            **quantization.key(self.quantize),
        }
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, seen.provenance(found.provenance))
        model = partial(
            qwen_omni.OmniCaptioner,
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
            f"omni captions ({found.name})",
            self.batch,
            model,
            reader=lambda workers: watching(workers, seen),
        )
        return seen.timed(run_stage(stage, seen.inputs, context))
