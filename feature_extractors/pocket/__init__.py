"""Pocket checkpoints: tiny models of real architectures, trained from scratch on simulated clips and shipped.

The README of this folder is their card. They make the whole path run without a hub and without a GPU; their numbers
are about simulated clips only and never stand beside those of real checkpoints.
"""

from __future__ import annotations

from pathlib import Path

#: Directory of the Qwen2.5-VL-class captioner, in the standard Hugging Face layout.
CAPTIONER = Path(__file__).parent / "captioner"
#: Directory of the captioner that also answers in JSON and summarises texts, of the same class and layout.
STRUCTURED = Path(__file__).parent / "structured"
#: Directory of a smaller one, trained alike.
CAPTIONER_SMALL = Path(__file__).parent / "captioner_small"
#: Directory of the BGE-style text encoder, in the standard sentence-transformers layout.
TEXT_ENCODER = Path(__file__).parent / "text_encoder"
#: Directory of the Whisper in the layout of openai-whisper: its dimensions and safetensors.
WHISPER = Path(__file__).parent / "whisper"
#: Directory of the Qwen2-Audio-class model, in the standard Hugging Face layout.
QWEN_AUDIO = Path(__file__).parent / "qwen_audio"
#: Directory of the Qwen2.5-Omni-class model, in the standard Hugging Face layout of the whole model.
OMNI = Path(__file__).parent / "omni"
#: Directory of the CLAP, in the standard Hugging Face layout, with sound classes of its own.
CLAP = Path(__file__).parent / "clap"
#: Directory of the LLaVA-OneVision-class model, in the standard Hugging Face layout.
LLAVA_ONEVISION = Path(__file__).parent / "llava_onevision"
#: Directory of the VideoMAE, in the standard Hugging Face layout, its decoder included.
VIDEOMAE = Path(__file__).parent / "videomae"
#: Directory of the CLIP, in the layout of open_clip.
CLIP = Path(__file__).parent / "clip"
#: Directory of the image encoder, the image tower of `CLIP` in the standard Hugging Face layout.
IMAGE_ENCODER = Path(__file__).parent / "image_encoder"
