"""Classes of transformers that write text about media, by the config.json of a checkpoint."""

from __future__ import annotations

import json
from typing import Any

from feature_extractors.models.checkpoint.checkpoints import Checkpoint, unreadable
from protocols.errors import UserError


def read_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read a checkpoint's config.json.

    Raises
    ------
    CheckpointError
        If it is no JSON object.
    """
    try:
        return dict(json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(checkpoint, error) from error


def writing_part(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the part of a model that writes: of an omni model its thinker."""
    return config.get("thinker_config", config)


def class_name(checkpoint: Checkpoint) -> str:
    """Return the name of the class of transformers that loads a checkpoint: an Auto class, or that of a thinker.

    Raises
    ------
    UserError
        If transformers has no model of this type that takes images, videos or sound and writes text.
    CheckpointError
        If config.json is no JSON object.
    """
    from transformers import __version__
    from transformers.models.auto import modeling_auto as auto

    config = read_config(checkpoint)
    kind = str(writing_part(config).get("model_type"))
    if "thinker_config" in config and kind in auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES:
        return str(auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[kind])
    if kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return "AutoModelForImageTextToText"
    if kind in auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES:
        return "AutoModelForMultimodalLM"
    raise UserError(
        f"checkpoint {checkpoint.folder}: model_type {kind!r} is no model of transformers {__version__} that takes "
        "images or videos and writes text",
        remedy="give a checkpoint of such a model, for example qwen2_5_vl, llava_onevision, video_llava or internvl",
    )
