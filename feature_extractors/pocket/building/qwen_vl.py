"""Untrained pocket checkpoints: the real architecture classes with tiny configurations, in the standard layouts.

The configuration of the captioner follows Qwen2.5-VL (arXiv 2502.13923) and that of the text encoder BGE
(arXiv 2309.07597); only widths, depths, patch size and vocabulary differ.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    GenerationConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2 import Qwen2Tokenizer

from feature_extractors.pocket.building.corpus import captioner_texts, encoder_texts

#: Frames per clip, and height and width in pixels, that the captioner's processor makes of a video.
FRAMES, PIXELS = 8, 48
#: Frames per patch, pixels per patch side, patches merged per side into one language-model token.
TEMPORAL_PATCH, PATCH, MERGE = 4, 8, 2
#: A caption has at most about 20 tokens.
MAX_NEW_TOKENS = 32

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
                  "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")  # fmt: skip

#: ChatML as Qwen2.5-VL uses it. No default system message: every token costs time here.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Size of a captioner: `width` of vision and language, layers of each; four heads in both."""

    width: int = 128
    vision_layers: int = 3
    layers: int = 3

    @property
    def sections(self) -> list[int]:
        """Rotary channels of time, height and width; they must add up to half of a head's dimension."""
        half = self.width // 8
        return [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]


#: What `pocket` is, and `pocket-small`, for the question whether a larger captioner helps.
USUAL = Size()
SMALL = Size(width=64, vision_layers=2, layers=2)


def build_captioner(folder: Path, seed: int, texts: Iterable[str] | None = None, size: Size = USUAL) -> None:
    """Write an untrained Qwen2.5-VL-class checkpoint: configuration, tokenizer, processors, fp16 weights.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    texts
        What the byte-level BPE vocabulary is learned from; default: the training prompts and captions.
    size
        Of the model.
    """
    tokenizer = byte_level_bpe(texts if texts is not None else captioner_texts(), SPECIAL_TOKENS)
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    stop = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": size.width, "intermediate_size": 3 * size.width,
            "num_hidden_layers": size.layers, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 1024, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": size.sections},
            **stop,
        },
        vision_config={
            "depth": size.vision_layers, "hidden_size": size.width, "intermediate_size": 2 * size.width,
            "num_heads": 4, "out_hidden_size": size.width,
            "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": TEMPORAL_PATCH,
            "tokens_per_second": 4, "window_size": PIXELS, "fullatt_block_indexes": list(range(size.vision_layers)),
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=MAX_NEW_TOKENS, **stop)
    _processor(tokenizer).save_pretrained(folder)
    save_captioner(model, folder)


def save_captioner(model: Qwen2_5_VLForConditionalGeneration, folder: Path) -> None:
    """Write configuration and weights as fp16 safetensors; the processor's files are left alone."""
    save_half(model, folder)


def build_text_encoder(folder: Path, seed: int, texts: Iterable[str] | None = None) -> None:
    """Write an untrained BGE-style sentence-transformers checkpoint: BertModel, CLS pooling, normalisation.

    Parameters
    ----------
    folder, seed
        As in `build_captioner`.
    texts
        What the WordPiece vocabulary is learned from; default: the corpus' sentences. Every printable ASCII
        character is in it, so any English word is covered by pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _word_pieces(texts if texts is not None else encoder_texts())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=384, max_position_embeddings=128, type_vocab_size=2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
    save_text_encoder(model, tokenizer, folder)


def save_text_encoder(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Write a BertModel and its tokenizer as a sentence-transformers directory (CLS pooling, normalisation)."""
    with tempfile.TemporaryDirectory() as bare:
        model.save_pretrained(bare)
        tokenizer.save_pretrained(bare)
        body = Transformer(bare, max_seq_length=128)
    whole = SentenceTransformer(
        modules=[body, Pooling(model.config.hidden_size, pooling_mode="cls"), Normalize()], device="cpu"
    )
    whole.save(str(folder), create_model_card=False)
    save_half(model, folder)


def save_half(model: PreTrainedModel, folder: Path) -> None:
    """Write fp16 weights beside a configuration that asks for float32 arithmetic: half the bytes, no slow CPU fp16."""
    half = copy.deepcopy(model).half()
    half.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        if "dtype" in part:
            part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _processor(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLProcessor:
    """Return the processor: 8 uniform frames of 48 x 48, patches of 4 x 8 x 8."""
    area = {"shortest_edge": PIXELS * PIXELS, "longest_edge": PIXELS * PIXELS}
    patches: dict[str, Any] = {"patch_size": PATCH, "temporal_patch_size": TEMPORAL_PATCH, "merge_size": MERGE}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=area, **patches),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(
            size=area, do_sample_frames=True, num_frames=FRAMES, min_frames=FRAMES, max_frames=FRAMES,
            cap_pixels_per_frame=False, **patches,
        ),
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def byte_level_bpe(
    texts: Iterable[str], special_tokens: Sequence[str], named: Mapping[str, str] | None = None
) -> Qwen2Tokenizer:
    """Learn a byte-level BPE vocabulary of at most 600 tokens, cut as Qwen2 cuts text; any text can be written in it.

    Parameters
    ----------
    texts
        To learn from.
    special_tokens
        First in the vocabulary; `<|im_end|>` and `<|endoftext|>` must be among them.
    named
        Those that a processor asks the tokenizer for, by the name of the attribute.
    """
    # An empty Qwen2Tokenizer supplies the pre-tokenisation, so that training cuts text exactly as use does.
    stock = Qwen2Tokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = stock.normalizer, stock.pre_tokenizer
    learner.decoder = decoders.ByteLevel()

    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(special_tokens), initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )  # fmt: skip
    learner.train_from_iterator(texts, trainer)
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return Qwen2Tokenizer(
        vocab=model["vocab"], merges=merges, eos_token="<|im_end|>",
        pad_token="<|endoftext|>", extra_special_tokens=list(special_tokens), padding_side="left",
        model_specific_special_tokens=dict(named or {}),
    )  # fmt: skip


def _word_pieces(texts: Iterable[str]) -> Any:

    stock = BertTokenizer().backend_tokenizer
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = stock.normalizer, stock.pre_tokenizer
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ascii_marks = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=1400, special_tokens=special, initial_alphabet=ascii_marks, min_frequency=2, show_progress=False,
    )  # fmt: skip
    learner.train_from_iterator(texts, trainer)
    vocab = learner.get_vocab()
    for mark in ascii_marks:  # every character also as a continuation, so that no ASCII word is unknown
        vocab.setdefault(f"##{mark}", len(vocab))
    return BertTokenizer(vocab=dict(sorted(vocab.items(), key=lambda kv: kv[1])), model_max_length=128)
