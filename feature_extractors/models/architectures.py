"""Families of video language models, and the family of a checkpoint by its config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from feature_extractors.models import llava, qwen_vl
from feature_extractors.models.checkpoints import Checkpoint, unreadable
from feature_extractors.models.video_lm import Family
from protocols.errors import UserError

FAMILIES = (qwen_vl.FAMILY, qwen_vl.WITH_TIMES, llava.ONEVISION, llava.VIDEO_LLAVA)


@dataclass(frozen=True)
class Decoder:
    """Decoder of a checkpoint, by its config.json.

    Attributes
    ----------
    family
        Of the whole model.
    layers, width
        Decoder layers, and numbers in one state.
    """

    family: Family
    layers: int
    width: int

    @property
    def facts(self) -> dict[str, Any]:
        """Entries of the provenance: the input of the first layer counts as a layer."""
        return {"family": self.family.name, "layers": self.layers + 1, "width": self.width}


def decoder_of(checkpoint: Checkpoint) -> Decoder:
    """Read a checkpoint's config.json.

    Raises
    ------
    UserError
        If its `model_type` is none of those of `FAMILIES`: names it and them.
    CheckpointError
        If it is no JSON object.
    """
    path = checkpoint.folder / "config.json"
    try:
        config: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(checkpoint, error) from error
    kind = config.get("model_type")
    family = next((family for family in FAMILIES if kind in family.model_types), None)
    if family is None:
        known = ", ".join(name for family in FAMILIES for name in family.model_types)
        raise UserError(
            f"checkpoint {checkpoint.folder}: model_type {kind!r} is no video language model known here",
            remedy=f"give a checkpoint of one of {known}",
        )
    # The first Qwen checkpoints keep the decoder's settings at the top level.
    text = config.get("text_config", config)
    if not {"num_hidden_layers", "hidden_size"} <= text.keys():  # settings at their defaults may be left out
        text = _with_defaults(checkpoint)
    return Decoder(family, int(text["num_hidden_layers"]), int(text["hidden_size"]))


def _with_defaults(checkpoint: Checkpoint) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    except Exception as error:
        raise unreadable(checkpoint, error) from error
    text = config.get_text_config(decoder=True)
    return {"num_hidden_layers": text.num_hidden_layers, "hidden_size": text.hidden_size}
