"""Untrained pocket Qwen2.5-Omni: the thinker's real class with a tiny configuration, in the layout of the full model.

The shape of what sees is that of the pocket captioner and the shape of what hears that of the pocket Qwen2-Audio, so
that their weights fit (`adopt`). Only the language model's inner width is smaller, which keeps the file small.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from feature_extractors.pocket import CAPTIONER, QWEN_AUDIO
from feature_extractors.pocket.building import sound_captions
from feature_extractors.pocket.building.corpus import PROMPTS, caption, random_named
from feature_extractors.pocket.building.qwen_vl import MERGE, PATCH, PIXELS, TEMPORAL_PATCH, byte_level_bpe, save_half

WIDTH, INNER, LAYERS = 128, 320, 3
#: Longest answer, in tokens.
MAX_NEW_TOKENS = 64

#: By the names under which the processor asks its tokenizer for them.
MARKS = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}  # fmt: skip
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *MARKS.values())

#: Qwen2.5-Omni's own, without the default system message: every token costs time here.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{% elif part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif part['type'] == 'image' %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def joint_caption(seen: dict[str, str], heard: dict[str, str] | None) -> str:
    """Return the training text of a clip: first the picture, then the sound (None: no sound).

    Examples
    --------
    >>> seen = dict(count="one", colour="red", shape="ring", motion="up", setting="sea", word="none")
    >>> joint_caption(seen, dict(mood="dark", rhythm="slow", spoken="none"))
    'One red ring moving up on the sea. No word is written. A dark chord with a slow beat. Nobody speaks.'
    """
    return " ".join([caption(seen)] + ([] if heard is None else [sound_captions.caption(heard)]))


def users() -> tuple[str, ...]:
    """Return the wordings of the user's turn, the extractor's own prompt first."""
    from feature_extractors.text.prompt_files import read_prompt

    return (read_prompt("describe-omni"), "Describe what you see and hear.", *PROMPTS)


def texts(seed: int = 0, n: int = 4000) -> Iterator[str]:
    """Yield texts for the tokenizer: all prompts and many captions."""
    rng = np.random.default_rng([seed, 0x0A])
    for _ in range(20):
        yield from users()
        yield "user assistant"
    for _ in range(n):
        heard = {factor: str(rng.choice(values)) for factor, values in sound_captions.FACTORS.items()}
        yield joint_caption(random_named(rng), heard)


def build_omni(folder: Path, seed: int, vocabulary: Iterable[str] | None = None) -> None:
    """Write an untrained checkpoint of the Qwen2.5-Omni class: configuration, tokenizer, processor, fp16 weights.

    The configuration says that there is no talker; the thinker's weights have the names of the full model.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    vocabulary
        Texts to learn the byte-level BPE vocabulary from; default: captions and prompts.
    """
    tokenizer = byte_level_bpe(texts() if vocabulary is None else vocabulary, SPECIAL_TOKENS, MARKS)
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    stop = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    places: dict[str, Any] = {
        "image_token_index": ids["<|IMAGE|>"], "audio_token_index": ids["<|AUDIO|>"],
        "video_token_index": ids["<|VIDEO|>"], "vision_start_token_id": ids["<|vision_bos|>"],
        "vision_end_token_id": ids["<|vision_eos|>"], "audio_start_token_id": ids["<|audio_bos|>"],
        "audio_end_token_id": ids["<|audio_eos|>"], "user_token_id": tokenizer.convert_tokens_to_ids("user"),
    }  # fmt: skip
    config = Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": INNER,
            "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            **stop,
        },
        vision_config={
            "depth": 3, "hidden_size": 128, "intermediate_size": 256, "num_heads": 4, "out_hidden_size": WIDTH,
            "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": TEMPORAL_PATCH,
            "window_size": PIXELS, "fullatt_block_indexes": [0, 1, 2],
        },
        audio_config={
            "num_mel_bins": sound_captions.MELS, "encoder_layers": 2, "encoder_attention_heads": 4,
            "encoder_ffn_dim": 2 * sound_captions.WIDTH, "d_model": sound_captions.WIDTH, "output_dim": WIDTH,
            "max_source_positions": sound_captions.SECONDS * 50,
            # one window for the longest sound, as the pocket Qwen2-Audio hears it
            "n_window": sound_captions.SECONDS * 50,
        },
        tie_word_embeddings=True, **places,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=MAX_NEW_TOKENS, **stop)
    area = {"shortest_edge": PIXELS * PIXELS, "longest_edge": PIXELS * PIXELS}
    patches: dict[str, Any] = {"patch_size": PATCH, "temporal_patch_size": TEMPORAL_PATCH, "merge_size": MERGE}
    Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(size=area, **patches),
        video_processor=Qwen2VLVideoProcessor(size=area, cap_pixels_per_frame=False, **patches),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=sound_captions.MELS, chunk_length=sound_captions.SECONDS, return_attention_mask=True
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    save_omni(model, folder)


def save_omni(model: Qwen2_5OmniThinkerForConditionalGeneration, folder: Path) -> None:
    """Write configuration and weights as the full model's, fp16; the processor's files are left alone."""
    save_half(model, folder)
    weights = folder / "model.safetensors"
    # transformers writes the prefix of a model that it has read with it, and of another one not
    named = {f"thinker.{name.removeprefix('thinker.')}": values for name, values in load_file(weights).items()}
    save_file(named, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    path = folder / "config.json"
    thinker = json.loads(path.read_text())
    whole = {
        "architectures": ["Qwen2_5OmniForConditionalGeneration"], "model_type": "qwen2_5_omni", "dtype": "float32",
        "enable_audio_output": False, "transformers_version": thinker.pop("transformers_version"),
        "thinker_config": thinker,
    }  # fmt: skip
    path.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")


def adopt(model: Qwen2_5OmniThinkerForConditionalGeneration, tokenizer: Any) -> None:
    """Copy vision tower and language model of the pocket captioner and the audio tower of the pocket Qwen2-Audio.

    What sees and hears is copied as it is, but for the projection of what is heard. Of the language model's inner
    neurons the largest are kept, and the vectors of the tokens that both vocabularies have.
    """
    eyes, ears = (load_file(folder / "model.safetensors") for folder in (CAPTIONER, QWEN_AUDIO))
    found: dict[str, torch.Tensor] = {}
    for name, values in eyes.items():
        if ".qkv." in name:
            for part, third in zip("qkv", values.chunk(3), strict=True):
                found[f"model.{name.replace('qkv', part)}"] = third
        elif name.startswith("visual."):
            found[f"model.{name}"] = values
        elif name != "model.embed_tokens.weight":
            found[name.replace("model.", "model.language_model.", 1)] = values
    for layer in range(LAYERS):
        mlp = f"model.language_model.layers.{layer}.mlp."
        up, gate, down = (found[f"{mlp}{part}_proj.weight"] for part in ("up", "gate", "down"))
        kept = (up.norm(dim=1) * gate.norm(dim=1) * down.norm(dim=0)).float().topk(INNER).indices.sort().values
        found |= {f"{mlp}up_proj.weight": up[kept], f"{mlp}gate_proj.weight": gate[kept]}
        found[f"{mlp}down_proj.weight"] = down[:, kept]
    for name, values in ears.items():
        if name.startswith("audio_tower.") and "embed_positions" not in name:
            found[f"model.{name.replace('audio_tower.layer_norm', 'audio_tower.ln_post')}"] = values
    embedding: Any = model.get_input_embeddings()
    embedded = embedding.weight.detach().clone()
    known = AutoTokenizer.from_pretrained(CAPTIONER).get_vocab()
    for token, at in tokenizer.get_vocab().items():
        if token in known:
            embedded[at] = eyes["model.embed_tokens.weight"][known[token]]
    found["model.language_model.embed_tokens.weight"] = embedded
    left, unknown = model.load_state_dict({name: values.float() for name, values in found.items()}, strict=False)
    new = {"model.audio_tower.proj.weight", "model.audio_tower.proj.bias", "lm_head.weight"}
    new.add("model.audio_tower.audio_bos_eos_token.weight")  # of no use in the model either
    if unknown or set(left) != new:
        raise ValueError(f"the pocket checkpoints do not fit: {sorted(set(left) - new)} missing, {unknown} left over")
