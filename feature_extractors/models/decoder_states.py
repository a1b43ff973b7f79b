"""Decoder states of a video language model after each layer, reduced to named readouts while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_extractors.media.result import Clip
from feature_extractors.models import model_types
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.quantization import Quantize
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import Call, on_device
from feature_extractors.models.video_lm import GREEDY, Family, Front, Pixels, load_model, turn_of
from protocols.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
#: Readouts of the context, in the order in which they are stored; `new` comes last where tokens are decoded.
READOUTS = ("visual", "prompt", "last", "mean")
#: Names of the norm behind the last layer of a decoder.
NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


class StateReader:
    """Clips to decoder states: one chat turn of video and prompt, run through the model once.

    With `new_tokens` above zero the model first answers greedily, and the one pass that is read goes over prompt and
    answer together: decoder attention looks back only, so its states are those of the decoding itself.

    Layer 0 is what enters the first decoder layer (token embeddings, the visual ones in their places), layer l what
    leaves decoder layer l, and the last one what leaves the final norm. (Qwen3-VL adds visual features between its
    first layers: they show one layer later.)

    Readouts, all over the tokens of the context without padding:

    - `visual`: mean over the placeholders that hold the clip;
    - `prompt`: mean over the tokens of text behind the first visual one: the prompt, what the chat template puts
      around it, and `begin`. What stands before the clip has seen nothing of it;
    - `last`: the last token of the context, where the next word would be decoded;
    - `mean`: mean over all tokens of the context;
    - `new`: mean over the decoded tokens, the end token included where the model gave one.

    Means are taken in float32, whatever the arithmetic of the model.

    Parameters
    ----------
    checkpoint, dtype, device, quantize, pixels
        As in `video_lm.load_model`.
    family
        Of the checkpoint, see `architectures.decoder_of`.
    prompt
        Text of the user's turn, after the video.
    new_tokens
        Most tokens that are decoded; 0: none, and no readout `new`.
    threads
        Torch threads.
    begin
        Words that the answer begins with, the last of them the token of `last`.

    Raises
    ------
    CheckpointError
        If the checkpoint does not load, its decoder has no layers that can be read, or the text of the turn has not
        exactly one place for a video.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: Family,
        dtype: str,
        device: str,
        prompt: str,
        new_tokens: int = 0,
        threads: int = 1,
        quantize: Quantize = "none",
        begin: str = "",
        pixels: Pixels = (None, None),
    ) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device, quantize=quantize, pixels=pixels)
        self._family, self._threads, self._new, self._begin = family, threads, new_tokens, begin
        self._stack = find_layers(checkpoint, self.model)
        self._front = Front(self.processor, turn_of(checkpoint, self.processor, family, prompt, begin), family.stacks)
        config = self.model.config
        marks = [getattr(config, f"{kind}_token_id", None) for kind in ("video", "image")]
        self._marks_of_clip = [mark for mark in marks if mark is not None]

    def prepare(self, clips: Sequence[Clip]) -> list[Call]:
        """Model inputs of a batch, cut into calls, on the host; safe in another thread than `run`."""
        return self._front.calls(clips)

    def run(self, prepared: Sequence[Call]) -> np.ndarray:
        """Read the states of what `prepare` gave, float32 [N, L, R, D]."""
        import torch

        found: dict[int, np.ndarray] = {}
        with torch_threads(self._threads), torch.inference_mode():
            for places, inputs in prepared:
                found.update(zip(places, self.states(self._on_device(inputs)).cpu().numpy(), strict=True))
        return np.stack([found[at] for at in range(len(found))])

    def __call__(self, clips: Sequence[Clip]) -> np.ndarray:
        """Read the states of a batch.

        Returns
        -------
        np.ndarray
            float32 [N, L, R, D]: decoder layers + 1, readouts, width.
        """
        return self.run(self.prepare(clips))

    def inputs(self, clips: Sequence[Clip]) -> dict[str, Any]:
        """Model inputs of clips that can share a model call, on the model's device."""
        return self._on_device(self._front(clips))

    def _on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        # Only pixels are numbers of the model's precision; seconds per frame must stay exact.
        return on_device(inputs, self.model, lambda name: name.startswith("pixel_values"))

    def states(self, inputs: dict[str, Any]) -> Tensor:
        """Reduced states of one model call, float32 [B, L, R, D]."""
        import torch

        length = inputs["input_ids"].shape[1]
        if self._new:
            inputs = self._with_answers(inputs)
        keep = inputs["attention_mask"].bool()
        readouts = torch.stack(self._tokens(inputs["input_ids"], keep, length), dim=1).float()
        weights = readouts / readouts.sum(dim=2, keepdim=True)
        whole = self.model if hasattr(self.model, "get_rope_index") else self.model.model
        if not hasattr(whole, "get_rope_index"):  # else the model places tokens in time, height and width itself
            # What generate() does too; without it, padding on the left would shift the positions.
            inputs = {**inputs, "position_ids": (keep.cumsum(dim=1) - 1).clamp(min=0)}
        layers: list[Tensor] = []
        with reduced(self._stack, weights, keep, layers):
            whole(**inputs, use_cache=False)
        return torch.stack(layers, dim=1)

    def _tokens(self, ids: Tensor, keep: Tensor, length: int) -> list[Tensor]:
        """Bool [B, T] for each readout: the tokens it is the mean of."""
        import torch

        place = torch.arange(ids.shape[1], device=ids.device)
        context = keep & (place < length)
        visual = context & torch.isin(ids, torch.tensor(self._marks_of_clip, device=ids.device))
        prompt = context & ~visual & (visual.cumsum(dim=1) > 0)
        last = (place == length - 1).expand_as(keep)  # prompts are padded on the left
        new = [keep & (place >= length)] if self._new else []
        return [visual, prompt, last, context, *new]

    def _with_answers(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Inputs with a greedy answer behind each prompt, as long as the model gave one."""
        import torch

        tokens = self.model.generate(**inputs, **GREEDY, max_new_tokens=self._new)
        answers = tokens[:, inputs["input_ids"].shape[1] :]
        ends = self.model.generation_config.eos_token_id
        ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        ended = torch.isin(answers, torch.tensor(ends, device=answers.device, dtype=answers.dtype))
        given = ended.cumsum(dim=1) - ended.long() == 0  # up to the first end token
        mask = torch.cat([inputs["attention_mask"], given.to(inputs["attention_mask"].dtype)], dim=1)
        longer = {"input_ids": tokens, "attention_mask": mask}
        for name in ("mm_token_type_ids", "token_type_ids"):
            if name in inputs:  # an answer is text: type 0
                kinds = inputs[name]
                longer[name] = torch.cat([kinds, torch.zeros_like(answers, dtype=kinds.dtype)], dim=1)
        return {**inputs, **longer}


@dataclass(frozen=True, eq=False)
class LayerStack:
    """Layers of a decoder and the norm behind them, modules of torch."""

    decoder: Any
    layers: Sequence[Any]
    norm: Any


def find_layers(checkpoint: Checkpoint, model: Any) -> LayerStack:
    """Find the layers of a model's decoder.

    Raises
    ------
    CheckpointError
        If they are not where decoders of transformers have them.
    """
    decoder = model.get_decoder()
    while not hasattr(decoder, "layers") and hasattr(decoder, "model"):
        decoder = decoder.model
    norm = next((getattr(decoder, name) for name in NORMS if hasattr(decoder, name)), None)
    if not hasattr(decoder, "layers") or norm is None:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}: the layers of its decoder ({type(decoder).__name__}) are not found",
            remedy="its captions can be had, its hidden states cannot",
        )
    return LayerStack(decoder, decoder.layers, norm)


@contextmanager
def reduced(stack: LayerStack, weights: Tensor, keep: Tensor, layers: list[Tensor]) -> Iterator[None]:
    """Collect `weights` [B, R, T] times the states [B, T, D] of each layer while the decoder runs.

    No layer's states are kept: at [B, T, D] for all of them, a 7B model would need gigabytes a batch.
    """

    def take(states: Tensor) -> None:
        if states.ndim != 3:
            raise CheckpointError(
                f"{model_types.SEVERAL_STATES}: shape {tuple(states.shape)}, not [clips, tokens, width]",
                remedy="captions of this checkpoint can be had, its hidden states cannot",
            )
        # What stands at padding is undefined, and zero times infinity is no number.
        layers.append(weights @ states.float().masked_fill(~keep.unsqueeze(-1), 0.0))

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(args[0] if args else kwargs["hidden_states"])

    def after(module: Any, args: tuple[Any, ...], output: Any) -> None:
        take(output[0] if isinstance(output, tuple) else output)

    hooks = [stack.layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    hooks += [module.register_forward_hook(after) for module in (*stack.layers[:-1], stack.norm)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
