"""Families of video language models, and the family of a checkpoint by its config.json.

A family is needed only where a model differs from the rest: any model of transformers that writes text about videos or
images is read alike.

Qwen-VL (arXiv 2409.12191, 2502.13923) takes clips of any length in one call. Qwen3-VL reads the time of each frame:
version 2 gives it the true ones where the frame rate varies.

LLaVA-OneVision (arXiv 2408.03326) puts SigLIP frames, pooled two by two, before a Qwen2 decoder. The tokens of all
frames are followed by one learned "new line" token, which counts as a visual one. Frames are resized to a square,
whatever the shape of the clip.

Video-LLaVA (arXiv 2311.10122) puts LanguageBind frames before a Vicuna decoder. Every frame is its class token and its
patches, all of them visual tokens; the centre square of a frame is seen. The published checkpoint was trained on 8
frames a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feature_extractors.models.checkpoint.checkpoints import Checkpoint, unreadable
from feature_extractors.models.checkpoint.model_classes import class_name, read_config, writing_part
from feature_extractors.models.video_lm import Family, chat_turn


def vicuna_turn(processor: Any, prompt: str, kinds: Sequence[str] = ("video",)) -> str:
    """Write the checkpoint's chat template, or Vicuna's format, for which early checkpoints have no template file."""
    if processor.chat_template:
        return chat_turn(processor, prompt, kinds)
    return f"USER: {processor.video_token}\n{prompt} ASSISTANT:"


QWEN_VL = Family("Qwen-VL", 1, ("qwen2_vl", "qwen2_5_vl"), stacks=False)
QWEN3_VL = Family("Qwen-VL", 2, ("qwen3_vl",), stacks=False)
ONEVISION = Family("LLaVA-OneVision", 1, ("llava_onevision",))
VIDEO_LLAVA = Family("Video-LLaVA", 1, ("video_llava",), turn=vicuna_turn)
FAMILIES = (QWEN_VL, QWEN3_VL, ONEVISION, VIDEO_LLAVA)


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


def family_of(checkpoint: Checkpoint) -> Family:
    """Return the family of a checkpoint; one that is none of `FAMILIES` is a family by itself, named by its type.

    Raises
    ------
    UserError, CheckpointError
        As `model_classes.class_name`.
    """
    kind = writing_part(read_config(checkpoint)).get("model_type")
    found = next((family for family in FAMILIES if kind in family.model_types), None)
    if found is None:
        class_name(checkpoint)
        found = Family(str(kind), 1, (str(kind),))
    return found


def decoder_of(checkpoint: Checkpoint) -> Decoder:
    """Read the facts about a checkpoint's decoder in its config.json.

    Raises
    ------
    UserError, CheckpointError
        As `family_of`.
    """
    family, part = family_of(checkpoint), writing_part(read_config(checkpoint))
    # The first Qwen checkpoints keep the decoder's settings at the top level.
    text = part.get("text_config", part)
    if not {"num_hidden_layers", "hidden_size"} <= text.keys():  # settings at their defaults may be left out
        text = _with_defaults(checkpoint)
    return Decoder(family, int(text["num_hidden_layers"]), int(text["hidden_size"]))


def _with_defaults(checkpoint: Checkpoint) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
        text = getattr(config, "thinker_config", config).get_text_config(decoder=True)
        return {"num_hidden_layers": text.num_hidden_layers, "hidden_size": text.hidden_size}
    except Exception as error:
        raise unreadable(checkpoint, error) from error
