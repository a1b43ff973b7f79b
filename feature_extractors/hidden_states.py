"""Hidden states: states of a video language model's decoder for a clip, layer by layer, without decoding a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults, quantization
from feature_extractors.options import FrameOptions, PixelOptions, PromptOption, QuantizedModelOptions
from feature_extractors.real_defaults import option

if TYPE_CHECKING:
    from feature_extractors.models.architectures import Decoder
    from feature_extractors.models.checkpoint.checkpoints import Checkpoint
    from feature_extractors.models.decoder_states import StateReader
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features

# Most characters of a title that are read.
LONGEST_TITLE = 200
# Pocket checkpoints by the name behind `pocket-` and `random-`.
FOLDERS = {"qwen2.5-vl": "CAPTIONER", "llava-onevision": "LLAVA_ONEVISION"}


@dataclass(frozen=True)
class HiddenStates(FrameOptions, PixelOptions, PromptOption, QuantizedModelOptions):
    """Decoder states of a video language model, reduced to named readouts per layer.

    The intermediate representations that DFF (arXiv 2512.21863) compares with captions and fuses over layers. Its
    prompt, frames and pooling over tokens are not published: they are options here.

    A feature is float16 [L, R, D], L = decoder layers + 1. Layer 0 is what enters the decoder, the last one what leaves
    its final norm. R readouts, over the context's tokens without padding: `visual` is the mean over the tokens of the
    clip, `prompt` over the text behind it (the prompt and the template's words around it), `last` the token where the
    answer would begin, `mean` the mean over all tokens, the text before the clip included; `new`, only with
    `new_tokens`, the mean over the decoded tokens. A layer whose numbers float16 cannot hold is stored with a scale.

    Options: `FrameOptions`, `PixelOptions`, `PromptOption`, `QuantizedModelOptions`.

    Attributes
    ----------
    checkpoint
        Any model of transformers that takes videos or images and writes text, if the layers of its decoder can be
        found. `pocket` is of the Qwen2.5-VL kind; `pocket-llava-onevision` and `random-llava-onevision` are of that
        kind. Real ones, beside the default: `llava-hf/llava-onevision-qwen2-7b-ov-hf`, `Qwen/Qwen2.5-VL-7B-Instruct`,
        `LanguageBind/Video-LLaVA-7B-hf`.
    new_tokens
        Tokens to decode greedily and to read as `new`; 0: none.
    begin
        Words that the answer begins with; `last` is the token they end with.
    """

    name: ClassVar[str] = "hidden-states"
    feature: ClassVar[str] = "layers"
    paper: ClassVar[str] = "DFF (arXiv 2512.21863)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.LLAVA_ONEVISION,)
    default_checkpoint: ClassVar[str] = defaults.LLAVA_ONEVISION
    pocket: ClassVar[str] = "CAPTIONER"

    new_tokens: int = 0
    begin: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(0, "new_tokens")

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Read the states of all clips.

        Raises
        ------
        UserError
            If the checkpoint is no such model; before anything is decoded.
        """
        from feature_extractors.models import decoder_states

        found, decoder = self.model(context)
        inputs = self._inputs(self.select_frames(source, context), source, context)
        readouts = [*decoder_states.READOUTS, *(["new"] if self.new_tokens else []), *self._more_readouts()]
        return self.run_model(
            "layers",
            self._reader(),
            [decoder_states.VERSION, decoder.family.version],
            found,
            inputs,
            context,
            {"readouts": readouts, "new_tokens": self.new_tokens, **self._more_config()},
            facts=decoder.facts,
            family=decoder.family,
            new_tokens=self.new_tokens,
            begin=self.begin,
        )

    def title_states(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return decoder states of all titles alone, the queries of a search for clips.

        Returns
        -------
        Features
            Of kind `layers`, with the one readout `mean` over the tokens of the title; only its first `LONGEST_TITLE`
            characters are read. They depend on the model's options, on no prompt and no frames.
        """
        from feature_extractors.models import text_states
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, text_inputs

        found, decoder = self.model(context)
        config = {
            "loader": [text_states.VERSION, decoder.family.version],
            "longest": LONGEST_TITLE,
            "readouts": ["mean"],
            "dtype": option(self, "dtype"),
            **quantization.key(self.quantize),
        }
        load = partial(
            text_states.TextStates,
            found,
            option(self, "dtype"),
            context.device,
            LONGEST_TITLE,
            context.threads,
            self.quantize,
        )
        titles = text_inputs(source.item_ids, source.titles, "title")
        stage = Stage.for_model(
            "title-states.layers", 1, "title states", found, load, config, titles, self.batch, decoder.facts
        )
        return run_stage(stage, titles, context)

    def key_entries(self) -> dict[str, Any]:
        """Add the beginning of the answer, where there is one."""
        return {**super().key_entries(), **({"begin": self.begin} if self.begin else {})}

    def model(self, context: ExtractContext) -> tuple[Checkpoint, Decoder]:
        """Find the checkpoint, and the facts about its decoder in its config.json.

        Raises
        ------
        UserError
            If the checkpoint is no such model, or cannot be quantized.
        """
        from feature_extractors.models.architectures import decoder_of

        found = self.locate(context)
        return found, decoder_of(found)

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files."""
        kind, _, name = self.checkpoint.partition("-")
        if kind in ("pocket", "random") and name in FOLDERS:
            word, pocket = kind, FOLDERS[name]
        return super().locate(context, word, pocket, **how)

    def _inputs(self, clips: Inputs, source: ItemSource, context: ExtractContext) -> Inputs:
        """Inputs of the stage, made of the clips."""
        return clips

    def _reader(self) -> Callable[..., StateReader]:
        """Class of the model."""
        from feature_extractors.models.decoder_states import StateReader

        return StateReader

    def _more_readouts(self) -> list[str]:
        """Names of readouts beyond those that every `StateReader` has."""
        return []

    def _more_config(self) -> dict[str, Any]:
        """Further entries of the key."""
        return {}
