"""Greedy text generation by chat models, from any modality, in calls of bounded size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.quantization import Quantize
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import Call, on_device
from feature_extractors.models.video_lm import GREEDY, Pixels, load_model
from feature_extractors.text.limits import CutText


class Answering(ABC):
    """Items to text: one chat turn for each item of a batch, answered greedily.

    A subclass says what it needs once the model is there (`_set_up`) and what the model's inputs are (`prepare`).

    Parameters
    ----------
    checkpoint, dtype, device, quantize, pixels
        As in `video_lm.load_model`.
    prompt
        Text of the user's turn, after the media.
    max_new_tokens
        Longest answer.
    threads
        Torch threads.

    Attributes
    ----------
    auto
        Of `video_lm.load_model`.
    processor, model
        What it returns.

    Raises
    ------
    CheckpointError
        If the checkpoint does not load, or its processor does not take such items.
    """

    auto: ClassVar[str] = ""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        prompt: str,
        max_new_tokens: int,
        threads: int = 1,
        quantize: Quantize = "none",
        pixels: Pixels = (None, None),
    ) -> None:
        self._pixels = pixels
        with torch_threads(threads):
            self.processor, self.model = self._load(checkpoint, dtype, device, quantize)
        self._prompt, self._threads = prompt, threads
        self._generation = {**GREEDY, "max_new_tokens": max_new_tokens}
        if checkpoint.random:
            self._generation |= self._random_weight_generation_config(max_new_tokens)
        self._set_up(checkpoint)

    def _load(self, checkpoint: Checkpoint, dtype: str, device: str, quantize: Quantize) -> tuple[Any, Any]:
        return load_model(checkpoint, dtype, device, self.auto, quantize, self._pixels)

    @abstractmethod
    def _set_up(self, checkpoint: Checkpoint) -> None:
        """Make what `prepare` needs."""

    def _random_weight_generation_config(self, max_new_tokens: int) -> dict[str, Any]:
        """Return settings that keep random weights from writing nothing, which would be no baseline.

        With tied embeddings they repeat the last token of the prompt, a line break.
        """
        tokenizer = self.processor.tokenizer
        end = tokenizer.eos_token_id
        blank = [
            i for i in range(len(tokenizer)) if i != end and not tokenizer.decode([i], skip_special_tokens=True).strip()
        ]
        return {"min_new_tokens": min(8, max_new_tokens), "suppress_tokens": blank}

    @abstractmethod
    def prepare(self, batch: Sequence[Any]) -> list[Call]:
        """Model inputs of a batch, cut into calls, on the host; safe in another thread than `run`."""

    def run(self, prepared: Sequence[Call]) -> list[str]:
        """Answer what `prepare` gave, in the order of the batch."""
        import torch

        texts: dict[int, str] = {}
        with torch_threads(self._threads), torch.inference_mode():
            for places, inputs in prepared:
                answers = self._answers(on_device(inputs, self.model, self._casts))
                texts.update(zip(places, answers, strict=True))
        return [texts[at] for at in range(len(texts))]

    def _casts(self, name: str) -> bool:
        """Return True for a floating-point input that takes the model's precision: it is too coarse for seconds."""
        return name.startswith(("pixel_values", "input_features"))

    def _answers(self, inputs: dict[str, Any]) -> list[str]:
        """Answer one call, filled up on the left; white space is one blank, an answer without an end is a `CutText`."""
        tokens = self.model.generate(**inputs, **self._generation)[:, inputs["input_ids"].shape[1] :]
        texts = [" ".join(text.split()) for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
        limit, ends = self._generation["max_new_tokens"], self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        full = [len(row) == limit and not ends.intersection(row) for row in tokens.tolist()]
        return [CutText(text, limit) if cut else text for text, cut in zip(texts, full, strict=True)]

    def __call__(self, batch: Sequence[Any]) -> list[str]:
        """Answer a batch."""
        return self.run(self.prepare(batch))
