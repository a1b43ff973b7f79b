"""Captions: a video language model describes each clip, a sentence encoder turns the text into a vector."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models import checkpoint_resolution
from protocols.errors import UserError

if TYPE_CHECKING:
    from protocols.features import Features

PROMPTS = Path(__file__).parent / "text" / "prompts"
REAL = "Qwen/Qwen2.5-VL-3B-Instruct"


@dataclass(frozen=True)
class Captions(Extractor):
    """Clips described by a video language model, the text turned into a vector.

    A chain of two cached stages, frames -> `captions.text` -> `captions.vector`; another text encoder reads the stored
    captions. The visual branch of "Describe What You See" (arXiv 2508.09789).

    Attributes
    ----------
    checkpoint, revision
        Video language model: a directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one on
        simulated data, else Qwen2.5-VL-3B; `pocket-small`: a smaller one (`random-small`: its twin).
    text_encoder, text_revision
        The same for the sentence encoder; `auto`: pocket, else BGE-large.
    prompt
        Name of a file in `feature_extractors/text/prompts`, or the path of a text file.
    frames
        Frame policy, see `frames.py`.
    max_seconds
        Frames from this time of a clip on are not looked at, unless the policy sets its own end; none: all are.
    frame_clip
        Checkpoint of the CLIP that chooses frames with `clip-topk`, as of `clip`.
    max_new_tokens
        Longest caption.
    dtype
        Of the models' arithmetic.
    quantize
        `4bit`: the language model's weights in 4 bits (bitsandbytes, on a GPU).
    batch
        Clips per model call; changes speed and memory, not the key.
    pocket
        Constant of `feature_extractors.pocket` that names the folder of `pocket` and `random`.
    said
        Name of the space of what the model says.
    """

    name: ClassVar[str] = "captions"
    feature: ClassVar[str] = "text, vector"
    paper: ClassVar[str] = "Describe What You See (arXiv 2508.09789)"
    licence: ClassVar[str] = "Qwen2.5-VL-3B: Qwen Research License; bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = f"{REAL}, BAAI/bge-large-en-v1.5"
    pocket: ClassVar[str] = "CAPTIONER"
    said: ClassVar[str] = "captions.text"

    checkpoint: str = "auto"
    text_encoder: str = "auto"
    prompt: str = "describe"
    frames: str = "uniform:8"
    max_new_tokens: int = 48
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch: int = 32
    revision: str | None = None
    text_revision: str | None = None
    max_seconds: float | None = 240.0
    quantize: Literal["none", "4bit"] = "none"
    frame_clip: str = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1 or self.max_new_tokens < 1:
            raise UserError(f"{self.name}.batch and {self.name}.max_new_tokens must be at least 1")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoints on simulated data, by the real ones elsewhere."""
        from feature_extractors.pipeline.text_embedding import REAL as REAL_ENCODER

        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        encoder = checkpoint_resolution.resolved(self.text_encoder, simulated, REAL_ENCODER)
        frame_clip = checkpoint_resolution.choosing(self.frames, self.frame_clip, simulated)
        return replace(self, checkpoint=checkpoint, text_encoder=encoder, frame_clip=frame_clip)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Caption all clips, then encode the captions."""
        from feature_extractors.pipeline.stage import stage_inputs
        from feature_extractors.pipeline.text_embedding import text_vectors

        texts = self.texts(source, context)
        vectors = text_vectors(
            f"{self.name}.vector",
            stage_inputs(texts),
            [texts.space],
            context,
            checkpoint=self.text_encoder,
            revision=self.text_revision,
            dtype=self.dtype,
            title="caption vectors",
        )
        return replace(vectors, seconds=vectors.seconds + texts.seconds)

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the captions themselves, a feature space of kind `text`."""
        from feature_extractors import pocket
        from feature_extractors.media import video
        from feature_extractors.models import quantization, qwen_vl
        from feature_extractors.pipeline.frame_selection import looked_at
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage
        from protocols.features import FeatureSpace

        prompt = read_prompt(self.prompt)
        small = self.checkpoint in ("pocket-small", "random-small")
        folder = pocket.CAPTIONER_SMALL if small else getattr(pocket, self.pocket)
        word = self.checkpoint.removesuffix("-small") if small else self.checkpoint
        found = checkpoint_resolution.found(word, REAL, folder, context, self.revision, self.quantize)
        if small:
            found = replace(found, name=self.checkpoint)
        seen = looked_at(self.frames, self.max_seconds, self.frame_clip, source, context)
        config: dict[str, Any] = {
            "parents": seen.parent_ids,
            "checkpoint": found.fingerprint,
            "loader": qwen_vl.VERSION,
            "prompt": prompt,
            "frames": seen.key,
            "decoder": video.decoder_key(),
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
            **quantization.key(self.quantize),
        }
        space = FeatureSpace(self.said, self.code_version, "text", config, seen.provenance(found.provenance))
        model = partial(
            qwen_vl.Captioner,
            found,
            self.dtype,
            context.device,
            prompt,
            self.max_new_tokens,
            context.threads,
            self.quantize,
        )
        stage = Stage(space, f"captions ({found.name})", self.batch, model, reader=seen.pool)
        return seen.timed(run_stage(stage, seen.inputs, context))


def read_prompt(prompt: str) -> str:
    """Return the text of a named prompt or of a prompt file; `none` asks nothing.

    Raises
    ------
    UserError
        If there is no such prompt, or it is empty.
    """
    if prompt == "none":
        return ""
    path = PROMPTS / f"{prompt}.txt" if re.fullmatch(r"[\w-]+", prompt) else Path(prompt).expanduser()
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt")))
        raise UserError(f"no prompt {prompt!r}", remedy=f"known prompts: none, {known}; or give a text file") from error
    if not text:
        raise UserError(f"the prompt file {path} is empty")
    return text
