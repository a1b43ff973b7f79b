"""Captions from a video language model of the Qwen2.5-VL kind (arXiv 2502.13923), pocket and real alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_extractors.backbones.checkpoints import Checkpoint
from feature_extractors.backbones.quantized import Quantize
from feature_extractors.backbones.threads import torch_threads
from feature_extractors.backbones.token_calls import Call, calls
from feature_extractors.backbones.video_lm import Answers, Family, Front, chat_turn, load_model
from feature_extractors.media import Clip

# Behaviour of the captioner, part of the key of every feature made with it.
VERSION = 1
FAMILY = Family("Qwen-VL", 1, ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), stacks=False, counts_positions=False)


class Captioner:
    """Clips to text: one chat turn of video and prompt, greedy decoding.

    Parameters
    ----------
    checkpoint, dtype, device, quantize
        As in `load_model`.
    prompt
        Text of the user's turn, after the video.
    max_new_tokens
        Longest answer.
    threads
        Torch threads.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        prompt: str,
        max_new_tokens: int,
        threads: int = 1,
        quantize: Quantize = "none",
    ) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device, quantize=quantize)
        self._threads = threads
        self._answers = Answers(self.processor, self.model, max_new_tokens, checkpoint.twin)
        self._front = Front(self.processor, chat_turn(self.processor, prompt))

    def inputs(self, clips: Sequence[Clip]) -> Any:
        """Model inputs of a batch, on the model's device."""
        return self._front(clips).to(self.model.device, self.model.dtype)

    def prepare(self, clips: Sequence[Clip]) -> list[Call]:
        """Model inputs of a batch, cut into calls by their tokens, on the host; safe in another thread than `run`."""
        return calls(self._front(clips))

    def run(self, prepared: Sequence[Call]) -> list[str]:
        """Caption what `prepare` gave."""
        return self._answers.in_calls(prepared, self._threads)

    def __call__(self, clips: Sequence[Clip]) -> list[str]:
        """Caption a batch."""
        return self.run(self.prepare(clips))
