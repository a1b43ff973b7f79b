"""Hidden states: what a video language model's decoder holds of a clip, layer by layer, without writing a word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.captions import read_prompt
from feature_extractors.models import checkpoint_resolution
from protocols.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from feature_extractors.media.pool import DecodePool
    from feature_extractors.models.architectures import Decoder
    from feature_extractors.models.checkpoints import Checkpoint
    from feature_extractors.models.decoder_states import StateReader
    from feature_extractors.pipeline.stage import Inputs, Reader
    from protocols.features import Features

REAL = "llava-hf/llava-onevision-qwen2-0.5b-ov-hf"


@dataclass(frozen=True)
class HiddenStates(Extractor):
    """Decoder states of a video language model, reduced to named readouts per layer.

    The intermediate representations that DFF (arXiv 2512.21863) compares with captions and fuses over layers. Its
    prompt, frames and pooling over tokens are not published: they are options here.

    A feature is float16 [L, R, D], L = decoder layers + 1. Layer 0 is what enters the decoder, the last one what leaves
    its final norm. R readouts, over the context's tokens without padding: `visual` is the mean over the tokens of the
    clip, `prompt` over the text behind it (the prompt and the template's words around it), `last` the token where the
    answer would begin, `mean` the mean over all tokens, the text before the clip included; `new`, only with
    `new_tokens`, the mean over the decoded tokens. A layer whose numbers float16 cannot hold is stored with a scale.

    Attributes
    ----------
    checkpoint, revision
        Qwen2-VL, Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision or Video-LLaVA: a directory, a hub id (with a revision),
        `pocket`, `random`; `auto`: the pocket one (of the Qwen2.5-VL kind) on simulated data, else LLaVA-OneVision
        0.5B. Others: `llava-hf/llava-onevision-qwen2-7b-ov-hf`, `Qwen/Qwen2.5-VL-7B-Instruct`,
        `LanguageBind/Video-LLaVA-7B-hf`; `pocket-llava-onevision` and its twin `random-llava-onevision`.
    prompt
        Name of a file in `feature_extractors/text/prompts`, or the path of a text file; `none`: nothing is asked.
    frames
        Frame policy, see `frames.py`.
    max_seconds
        Frames from this time of a clip on are not looked at, unless the policy sets its own end; none: all are.
    frame_clip
        Checkpoint of the CLIP that chooses frames with `clip-topk`, as of `clip`.
    new_tokens
        Tokens to decode greedily and to read as `new`; 0: none.
    begin
        Words that the answer begins with; `last` is the token they end with.
    dtype
        Of the model's arithmetic.
    quantize
        `4bit`: the language model's weights in 4 bits (bitsandbytes, on a GPU).
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "hidden-states"
    feature: ClassVar[str] = "layers"
    paper: ClassVar[str] = "DFF (arXiv 2512.21863)"
    licence: ClassVar[str] = "llava-onevision-qwen2-0.5b: Apache-2.0"
    checkpoints: ClassVar[str] = REAL
    pocket: ClassVar[str] = "qwen2.5-vl"

    checkpoint: str = "auto"
    prompt: str = "describe"
    frames: str = "uniform:8"
    new_tokens: int = 0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch: int = 16
    revision: str | None = None
    max_seconds: float | None = 240.0
    quantize: Literal["none", "4bit"] = "none"
    begin: str = ""
    frame_clip: str = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1 or self.new_tokens < 0:
            raise UserError(f"{self.name}.batch must be at least 1, {self.name}.new_tokens at least 0")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoint on simulated data, by the real one elsewhere."""
        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        frame_clip = checkpoint_resolution.choosing(self.frames, self.frame_clip, simulated)
        return replace(self, checkpoint=checkpoint, frame_clip=frame_clip)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Read the states of all clips.

        Raises
        ------
        UserError
            If the checkpoint is of no known family; before anything is decoded.
        """
        from feature_extractors.media import video
        from feature_extractors.models import decoder_states, quantization
        from feature_extractors.pipeline.frame_selection import looked_at
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, chained
        from protocols.features import FeatureSpace

        prompt = read_prompt(self.prompt)
        found, decoder = self.model(context)
        seen = looked_at(self.frames, self.max_seconds, self.frame_clip, source, context)
        inputs, texts = self._inputs(seen.inputs, source, context)
        config: dict[str, Any] = {
            "parents": [*seen.parent_ids, *(features.space.id for features in texts)],
            "checkpoint": found.fingerprint,
            "loader": [decoder_states.VERSION, decoder.family.version],
            "prompt": prompt,
            "frames": seen.key,
            "decoder": video.decoder_key(),
            "readouts": [*decoder_states.READOUTS, *(["new"] if self.new_tokens else []), *self._more_readouts()],
            "new_tokens": self.new_tokens,
            "dtype": self.dtype,
            **quantization.key(self.quantize),
            **({"begin": self.begin} if self.begin else {}),
            **self._more_config(),
        }
        provenance = chained([one.space for one in (*seen.parents, *texts)], found.provenance)
        space = FeatureSpace(
            f"{self.name}.layers", self.code_version, "layers", config, {**provenance, **decoder.facts}
        )
        load = partial(
            self._reader(),
            found,
            decoder.family,
            self.dtype,
            context.device,
            prompt,
            self.new_tokens,
            context.threads,
            self.quantize,
            self.begin,
        )
        stage = Stage(
            space,
            f"{self.name} ({found.name})",
            self.batch,
            load,
            reader=lambda workers: self._reading(seen.pool(workers)),
        )
        features = seen.timed(run_stage(stage, inputs, context))
        return replace(features, seconds=sum((one.seconds for one in texts), features.seconds))

    def model(self, context: ExtractContext) -> tuple[Checkpoint, Decoder]:
        """Find the checkpoint, and what its config.json says of the decoder.

        Raises
        ------
        UserError
            If the checkpoint is of no known family, or cannot be quantized.
        """
        from feature_extractors.models.architectures import decoder_of

        word, pocket = self._checkpoint()
        found = checkpoint_resolution.found(word, REAL, pocket, context, self.revision, self.quantize)
        return found, decoder_of(found)

    def _checkpoint(self) -> tuple[str, Path]:
        """Word for `resolve`, and the directory of the pocket checkpoint that it may stand for."""
        from feature_extractors import pocket

        folders = {"qwen2.5-vl": pocket.CAPTIONER, "llava-onevision": pocket.LLAVA_ONEVISION}
        kind, _, name = self.checkpoint.partition("-")
        if kind in ("pocket", "random") and name in folders:
            return kind, folders[name]
        return self.checkpoint, folders[self.pocket]

    def _inputs(self, clips: Inputs, source: ItemSource, context: ExtractContext) -> tuple[Inputs, list[Features]]:
        """What the stage is run on, made of the clips, and the texts of other stages in it."""
        return clips, []

    def _reading(self, pool: DecodePool) -> AbstractContextManager[Reader]:
        """Turns payloads into what the model takes."""
        return pool

    def _reader(self) -> Callable[..., StateReader]:
        """Loads the model."""
        from feature_extractors.models.decoder_states import StateReader

        return StateReader

    def _more_readouts(self) -> list[str]:
        """Names of readouts beyond those that every `StateReader` has."""
        return []

    def _more_config(self) -> dict[str, Any]:
        """What else decides the states."""
        return {}
