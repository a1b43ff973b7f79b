"""Decoder states of a video language model for a text alone, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.quantization import Quantize
from feature_extractors.models.decoder_states import find_layers, reduced
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.video_lm import load_model, marks_of
from feature_extractors.text.plain import cut_note, plain

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1


class TextStates:
    """Texts to decoder states: the text without any chat turn, the mean over its tokens.

    Parameters
    ----------
    checkpoint, dtype, device, quantize
        As in `video_lm.load_model`.
    longest
        Most characters of a text that are read.
    threads
        Torch threads.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        longest: int,
        threads: int = 1,
        quantize: Quantize = "none",
    ) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device, quantize=quantize)
        self._longest, self._threads = longest, threads
        self._stack = find_layers(checkpoint, self.model)
        self._marks = marks_of(self.processor.tokenizer)

    def note(self, text: str) -> str:
        """Remark for the reader of a row: a text that is not read to its end."""
        return cut_note("title", text, self._longest)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Read the states of a batch.

        Returns
        -------
        np.ndarray
            float32 [N, L, 1, D]: decoder layers + 1, width.
        """
        import torch

        words = [plain(text, self._marks, self._longest) or "." for text in texts]
        # filled up behind the text, where a decoder does not look: positions are those of the text alone
        inputs = self.processor.tokenizer(words, padding=True, padding_side="right", return_tensors="pt")
        ids, mask = (inputs[name].to(self.model.device) for name in ("input_ids", "attention_mask"))
        keep = mask.bool()
        weights = (keep / keep.sum(dim=1, keepdim=True)).unsqueeze(1)
        layers: list[torch.Tensor] = []
        with torch_threads(self._threads), torch.inference_mode(), reduced(self._stack, weights, keep, layers):
            self._stack.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
        return torch.stack(layers, dim=1).cpu().numpy()
