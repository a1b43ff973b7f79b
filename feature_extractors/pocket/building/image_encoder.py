"""Pocket image encoder: the image tower of the pocket CLIP as `CLIPVisionModel`, in the layout of transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from feature_extractors.models.clip_image import LAYOUT
from feature_extractors.pocket import CLIP
from feature_extractors.pocket.building.qwen_vl import save_half

#: Names of open_clip and of transformers; weights and biases alike.
NAMES = {
    r"^class_embedding": "embeddings.class_embedding",
    r"^positional_embedding": "embeddings.position_embedding.weight",
    r"^conv1\.": "embeddings.patch_embedding.",
    r"^ln_pre\.": "pre_layrnorm.",
    r"^ln_post\.": "post_layernorm.",
    r"^transformer\.resblocks\.": "encoder.layers.",
    r"\.ln_(\d)\.": r".layer_norm\1.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
    r"\.attn\.": ".self_attn.",
}


def build_image_encoder(folder: Path, source: Path = CLIP) -> None:
    """Write the image tower of a CLIP in the layout of open_clip, without its projection: config, processor, weights.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    source
        Directory of the CLIP.
    """
    settings = json.loads((source / LAYOUT.config).read_text(encoding="utf-8"))
    tower, pixels = settings["model_cfg"]["vision_cfg"], settings["preprocess_cfg"]
    size, width = tower["image_size"], tower["width"]
    config = CLIPVisionConfig(
        image_size=size, patch_size=tower["patch_size"], hidden_size=width, num_hidden_layers=tower["layers"],
        num_attention_heads=width // tower["head_width"], intermediate_size=int(width * tower["mlp_ratio"]),
        projection_dim=width, hidden_act="gelu",
    )  # fmt: skip
    model = CLIPVisionModel(config)
    model.load_state_dict(dict(_renamed(load_file(source / LAYOUT.weights))))
    folder.mkdir(parents=True, exist_ok=True)
    CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size},
        image_mean=pixels["mean"], image_std=pixels["std"],
    ).save_pretrained(folder)  # fmt: skip
    save_half(model, folder)


def _renamed(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for key, value in weights.items():
        name = key.removeprefix("visual.")
        if name == key or name == "proj":
            continue
        for pattern, replacement in NAMES.items():
            name = re.sub(pattern, replacement, name)
        if ".in_proj_" not in name:
            yield name, value.float()
            continue
        before, kind = name.split("in_proj_")
        for part, rows in zip("qkv", value.float().chunk(3), strict=True):
            yield f"{before}{part}_proj.{kind}", rows
