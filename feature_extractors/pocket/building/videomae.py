"""Untrained pocket VideoMAE: `VideoMAEForPreTraining` with a tiny configuration, in the standard layout."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEImageProcessor
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling

from feature_extractors.pocket.building.qwen_vl import PIXELS, save_half

#: Frames of a clip, frames of a tubelet, pixels of a patch's side.
FRAMES, TUBELET, PATCH = 16, 4, 8


def build_videomae(folder: Path, seed: int) -> None:
    """Write an untrained VideoMAE-class checkpoint: configuration, image processor, fp16 weights.

    The configuration follows MCG-NJU/videomae-base (arXiv 2203.12602); only widths, depths and resolution differ.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    """
    config = VideoMAEConfig(
        image_size=PIXELS, patch_size=PATCH, num_frames=FRAMES, tubelet_size=TUBELET,
        hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
        decoder_hidden_size=64, decoder_num_hidden_layers=2, decoder_num_attention_heads=2,
        decoder_intermediate_size=128, use_mean_pooling=False, norm_pix_loss=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VideoMAEForPreTraining(config)
    folder.mkdir(parents=True, exist_ok=True)
    VideoMAEImageProcessor(
        size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS},
        resample=PILImageResampling.BICUBIC, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD,
    ).save_pretrained(folder)  # fmt: skip
    save_videomae(model, folder)


def save_videomae(model: VideoMAEForPreTraining, folder: Path) -> None:
    """Write configuration and weights as fp16 safetensors; the processor's files are left alone."""
    save_half(model, folder)
