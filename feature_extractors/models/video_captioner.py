"""Captions from a video language model of any family, pocket and real alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_extractors.media.result import Clip
from feature_extractors.models.architectures import QWEN3_VL, family_of
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.model_classes import read_config
from feature_extractors.models.generation import Answering
from feature_extractors.models.token_batching import Call, on_device
from feature_extractors.models.video_lm import Front, turn_of

# Behaviour of the captioner, part of the key of every feature made with it.
VERSION = 1


def version(checkpoint: Checkpoint) -> int | list[int]:
    """Return the version of the captioner with a checkpoint, for keys."""
    kind = read_config(checkpoint).get("model_type")
    return [VERSION, QWEN3_VL.version] if kind in QWEN3_VL.model_types else VERSION


class Captioner(Answering):
    """Clips to text, described: one chat turn of video and prompt each."""

    def _set_up(self, checkpoint: Checkpoint) -> None:
        family = family_of(checkpoint)
        self._front = Front(self.processor, turn_of(checkpoint, self.processor, family, self._prompt), family.stacks)

    def inputs(self, clips: Sequence[Clip]) -> Any:
        """Model inputs of a batch, on the model's device."""
        return on_device(self._front(clips), self.model, self._casts)

    def prepare(self, clips: Sequence[Clip]) -> list[Call]:
        """Model inputs of a batch, cut into calls by their tokens."""
        return self._front.calls(clips)
