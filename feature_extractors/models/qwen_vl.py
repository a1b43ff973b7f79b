"""Captions from a video language model of the Qwen2.5-VL kind (arXiv 2502.13923), pocket and real alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoints import Checkpoint, unreadable
from feature_extractors.models.generation import Answering
from feature_extractors.models.token_batching import Call, calls
from feature_extractors.models.video_lm import Family, Front, chat_turn

# Behaviour of the captioner, part of the key of every feature made with it.
VERSION = 1
FAMILY = Family("Qwen-VL", 1, ("qwen2_vl", "qwen2_5_vl"), stacks=False, counts_positions=False)
# It reads the time of each frame: version 2 gives it the true ones where the frame rate varies.
WITH_TIMES = Family("Qwen-VL", 2, ("qwen3_vl",), stacks=False, counts_positions=False)


def version(checkpoint: Checkpoint) -> int | list[int]:
    """Return the version of the captioner with a checkpoint, for keys."""
    try:
        kind = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise unreadable(checkpoint, error) from error
    return [VERSION, WITH_TIMES.version] if kind in WITH_TIMES.model_types else VERSION


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
