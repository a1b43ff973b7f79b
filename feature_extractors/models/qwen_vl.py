"""Captions from a video language model of the Qwen2.5-VL kind (arXiv 2502.13923), pocket and real alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoints import Checkpoint
from feature_extractors.models.generation import Answering
from feature_extractors.models.token_batching import Call, calls
from feature_extractors.models.video_lm import Family, Front, chat_turn

# Behaviour of the captioner, part of the key of every feature made with it.
VERSION = 1
FAMILY = Family("Qwen-VL", 1, ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), stacks=False, counts_positions=False)


class Captioner(Answering):
    """Clips to text, described: one chat turn of video and prompt each."""

    def _set_up(self, checkpoint: Checkpoint) -> None:
        self._front = Front(self.processor, chat_turn(self.processor, self._prompt))

    def inputs(self, clips: Sequence[Clip]) -> Any:
        """Model inputs of a batch, on the model's device."""
        return self._front(clips).to(self.model.device, self.model.dtype)

    def prepare(self, clips: Sequence[Clip]) -> list[Call]:
        """Model inputs of a batch, cut into calls by their tokens."""
        return calls(self._front(clips))
