"""Untrained pocket LLaVA-OneVision: the real classes with a tiny configuration, in the standard layout.

The configuration follows LLaVA-OneVision (arXiv 2408.03326); only widths, depths, frame size, patch size and vocabulary
differ. Real checkpoints cut frames of 384 pixels into patches of 14.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)
from transformers.models.qwen2 import Qwen2Tokenizer

from feature_extractors.pocket.building.clip_pool import PIXELS
from feature_extractors.pocket.building.corpus import captioner_texts
from feature_extractors.pocket.building.qwen_vl import MAX_NEW_TOKENS, byte_level_bpe, save_half

#: Pixels per patch side; patches per side of a frame, which are pooled two by two.
PATCH = 8
SIDE = PIXELS // PATCH
#: Language-model tokens of one frame; one more, the "new line", follows the last frame.
FRAME_TOKENS = (-(-SIDE // 2)) ** 2
#: Width of the language model, and of the vision tower.
WIDTH, VISION_WIDTH = 128, 96

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")

#: LLaVA-OneVision's own: pictures first, then videos, then texts, each on a line of its own.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% if message['content'] is string %}{{ '\n' + message['content'] }}{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'video') %}<video>{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + part['text'] }}{% endfor %}"
    "{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build_llava_onevision(folder: Path, seed: int, texts: Iterable[str] | None = None) -> None:
    """Write an untrained LLaVA-OneVision-class checkpoint: configuration, tokenizer, processors, fp16 weights.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    texts
        What the byte-level BPE vocabulary is learned from; default: the training prompts and captions.
    """
    tokenizer = byte_level_bpe(texts if texts is not None else _texts(), SPECIAL_TOKENS)
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    stop = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": VISION_WIDTH, "intermediate_size": 2 * VISION_WIDTH,
            "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": PIXELS, "patch_size": PATCH,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 3 * WIDTH,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, "tie_word_embeddings": True, **stop,
        },
        image_token_index=ids["<image>"], video_token_index=ids["<video>"],
        image_grid_pinpoints=[[PIXELS, PIXELS]], tie_word_embeddings=True, **stop,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaOnevisionForConditionalGeneration(config)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=MAX_NEW_TOKENS, **stop)
    _processor(tokenizer).save_pretrained(folder)
    save_llava_onevision(model, folder)


def save_llava_onevision(model: LlavaOnevisionForConditionalGeneration, folder: Path) -> None:
    """Write configuration and weights as fp16 safetensors; the processor's files are left alone."""
    save_half(model, folder)


def _texts() -> Iterator[str]:
    """Yield texts for the tokenizer: those of the captioner, and the query that its features are read with."""
    from feature_extractors.text.prompt_files import read_prompt

    yield from captioner_texts()
    for _ in range(20):
        yield f"Title: \nTranscript: \n{read_prompt('recommend')}"


def _processor(tokenizer: Qwen2Tokenizer) -> LlavaOnevisionProcessor:
    """Return the processor: frames of 48 x 48, numbers from -1 to 1 as SigLIP takes them."""
    half, size = [0.5] * 3, {"height": PIXELS, "width": PIXELS}
    scale: Any = {"size": size, "image_mean": half, "image_std": half}
    return LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(image_grid_pinpoints=[[PIXELS, PIXELS]], **scale),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(**scale),
        num_image_tokens=SIDE**2,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )
