"""Untrained pocket CLIP: open_clip's `CLIP` with a tiny configuration, in the layout that open_clip reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from feature_extractors.models.clip_image import LAYOUT
from feature_extractors.pocket.building.corpus import ATTRIBUTES, plural, random_named
from feature_extractors.pocket.building.qwen_vl import PIXELS

#: What one frame shows: motion takes several.
SHOWN = tuple(attribute for attribute in ATTRIBUTES if attribute != "motion")
CONTEXT = 24
PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<start>", "<end>"


def text_of(named: Mapping[str, str]) -> str:
    """Describe some of the attributes that a frame shows, in one fixed order.

    Examples
    --------
    >>> text_of({"count": "two", "colour": "red", "shape": "cross", "setting": "sea", "word": "none"})
    'a picture of two red crosses by the sea without a word'
    >>> text_of({"word": "jazz"})
    'a picture with the word jazz'
    """
    count, colour = named.get("count", ""), named.get("colour", "")
    noun = plural(count or "two", named["shape"]) if "shape" in named else "things"
    subject = ["of", count, colour, noun] if {"count", "colour", "shape"} & set(named) else []
    place = ["by the", named["setting"]] if "setting" in named else []
    word = named.get("word", "")
    written = ["without a word"] if word == "none" else ["with the word", word] if word else []
    return " ".join(part for part in ["a picture", *subject, *place, *written] if part)


def texts(n: int = 4000) -> Iterator[str]:
    """Yield texts for the tokenizer."""
    rng = np.random.default_rng([0, 0xC1])
    for _ in range(n):
        named = random_named(rng)
        yield text_of({name: named[name] for name in SHOWN if rng.random() < 0.7})


def build_clip(folder: Path, seed: int, vocabulary: Iterable[str] | None = None) -> None:
    """Write an untrained CLIP-class checkpoint: configuration, tokenizer of whole words, fp16 weights.

    The configuration follows ViT-B-32 of open_clip (arXiv 2212.07143); widths, depths, resolution and vocabulary
    differ.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    vocabulary
        Texts to take the words from; default: training texts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _words(texts() if vocabulary is None else vocabulary)
    tokenizer.save_pretrained(folder)
    config = {
        "embed_dim": 96,
        "vision_cfg": {
            "image_size": PIXELS, "layers": 4, "width": 128, "head_width": 32, "mlp_ratio": 2.0, "patch_size": 8,
        },
        "text_cfg": {
            "context_length": CONTEXT, "vocab_size": len(tokenizer), "width": 96, "heads": 4, "layers": 2,
            "mlp_ratio": 2.0, "hf_tokenizer_name": "words",
        },
    }  # fmt: skip
    look = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "interpolation": "bicubic"}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": look}, indent=2, sort_keys=True)
    (folder / LAYOUT.config).write_text(text + "\n")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = open_clip.CLIP(**config)
    save_clip(model, folder)


def save_clip(model: Any, folder: Path) -> None:
    """Write the weights as fp16 safetensors; the other files are left alone."""
    half = {name: weight.detach().half().contiguous() for name, weight in model.state_dict().items()}
    path = folder / LAYOUT.weights
    save_file(half, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _words(vocabulary: Iterable[str]) -> Any:
    """Return a tokenizer of whole words; the token at the end has the highest number, by which CLIP finds it."""
    known = sorted({word for text in vocabulary for word in text.split()})
    tokens = [PAD, UNKNOWN, START, *known, END]
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, numbers[START]), (END, numbers[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, bos_token=START, eos_token=END,
        model_max_length=CONTEXT,
    )  # fmt: skip
