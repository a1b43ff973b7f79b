"""Training data of the pocket Qwen2-Audio (captions of soundtracks, side texts) and its untrained architecture.

A caption names rhythm, mood and the spoken word with its topic, which is all that a soundtrack of the demo is made of,
but for its key, which no text names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import sinusoids

from feature_extractors.pocket.building import speech
from feature_extractors.pocket.building.clip_pool import ENTROPY
from feature_extractors.pocket.building.qwen_vl import byte_level_bpe, save_half
from protocols.datasets.demo.factors import RHYTHMS, SPOKEN, SPOKEN_TOPICS, topic_of
from protocols.datasets.demo.scene import Scene, render_audio, sample_scene

#: Moods that no training sound has together with this rhythm, beside the words of `speech.HELD_BACK`.
HELD_BACK = (("dark", "fast"),)
#: Values of each factor that a caption names; a sound of faint noise has none of the first two.
FACTORS: dict[str, tuple[str, ...]] = {
    "mood": ("none", "bright", "dark"),
    "rhythm": RHYTHMS,
    "spoken": ("none", *SPOKEN),
}
#: Shares of training sounds in which somebody speaks, and which are faint noise.
SPEAKING, NOISE = 0.6, 0.06
#: What training prompts tell as tags, at random: the model learns to trust its own ears.
TAGS = (
    "a bright chord", "a dark chord", "bright music", "dark music", "a slow beat", "a fast beat", "a calm drum",
    "a rapid drum", "music without a beat", "nobody", "a voice", "a voice about animals", "a talk about family",
    "music", "speech", "drum", "drum kit", "beat", "silence", "noise", "bass", "piano", "guitar", "organ",
    "synthesizer", "chord", "singing", "conversation", "narration", "voice", "clapping", "percussion", "bell", "wind",
    "water", "engine", "animal", "dog", "bird", "cheering", "laughter", "footsteps", "hum", "buzz", "techno",
    "ambient music", "happy music", "sad music", "scary music", "exciting music", "calm music",
)  # fmt: skip
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
#: Longest sound of the checkpoint, seconds, and its log-mel bins.
SECONDS, MELS = 10, 40
WIDTH = 96
MAX_NEW_TOKENS = 32

#: Qwen2-Audio's own, without the default system message: every token costs time here.
CHAT_TEMPLATE = (
    "{% set count = namespace(value=0) %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}{% set count.value = count.value + 1 %}"
    "Audio {{ count.value }}: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def heard_in(scene: Scene) -> dict[str, str]:
    """Return the values of a scene's sound that a caption names."""
    return {"mood": scene.mood, "rhythm": scene.rhythm, "spoken": scene.spoken or "none"}


def caption(named: dict[str, str]) -> str:
    """Return the training caption of these sounds.

    Examples
    --------
    >>> caption(dict(mood="dark", rhythm="slow", spoken="tiger"))
    'A dark chord with a slow beat. A voice says tiger, about animals.'
    >>> caption(dict(mood="none", rhythm="none", spoken="none"))
    'Hardly any sound.'
    """
    if named["mood"] == "none":
        return "Hardly any sound."
    beat = "without a beat" if named["rhythm"] == "none" else f"with a {named['rhythm']} beat"
    word = named["spoken"]
    said = "Nobody speaks." if word == "none" else f"A voice says {word}, about {topic_of(word, SPOKEN_TOPICS)}."
    return f"A {named['mood']} chord {beat}. {said}"


def read_caption(text: str) -> dict[str, str]:
    """Return the values that a caption names; "" where it names none.

    Examples
    --------
    >>> read_caption("A dark chord without a beat. Nobody speaks.")
    {'mood': 'dark', 'rhythm': 'none', 'spoken': 'none'}
    """
    words = re.findall(r"[a-z]+", text.lower())
    found = {factor: next((word for word in words if word in values), "") for factor, values in FACTORS.items()}
    nothing = {"mood": "hardly", "rhythm": "without", "spoken": "nobody"}
    return {factor: found[factor] or ("none" if sign in words else "") for factor, sign in nothing.items()}


def is_held_back(scene: Scene) -> bool:
    """Return True for a soundtrack with a combination that no training sound has."""
    return (scene.mood, scene.rhythm) in HELD_BACK or (bool(scene.spoken) and speech.is_held_back(scene))


def sounding_scenes(rng: np.random.Generator, *, held_back: bool) -> Iterator[Scene]:
    """Draw scenes with sound: all with a held-back combination, or none."""
    while True:
        scene = sample_scene(rng, held_back=False)
        if scene.mood != "none":
            word = SPOKEN[int(rng.integers(len(SPOKEN)))] if rng.random() < SPEAKING else ""
            scene = replace(scene, spoken=word)
            if is_held_back(scene) == held_back:
                yield scene


def training_sounds(seed: int, n: int) -> Iterator[tuple[np.ndarray, dict[str, str]]]:
    """Make training sounds, float32 [T], with their values; half of them through AAC."""
    rng = np.random.default_rng([ENTROPY, seed, 0x5CA9])
    scenes = sounding_scenes(rng, held_back=False)
    for _ in range(n):
        if rng.random() < NOISE:
            named, samples = {"mood": "none", "rhythm": "none", "spoken": "none"}, speech.faint_noise(rng)
        else:
            scene = next(scenes)
            named, samples = heard_in(scene), render_audio(scene)
        samples = samples * np.float32(rng.uniform(0.5, 1.2))
        yield speech.through_aac(samples) if rng.random() < speech.AAC_SHARE else samples, named


def transcript_of(named: dict[str, str]) -> str | None:
    """Return a perfect transcript; None where nobody speaks."""
    return None if named["spoken"] == "none" else f"{named['spoken'].capitalize()}."


def draw_told(named: dict[str, str], rng: np.random.Generator) -> tuple[str | None, str | None]:
    """Draw transcript and tags of a training prompt: a third of the transcripts lack the word, tags are random."""
    transcript = transcript_of(named) if rng.random() < 0.67 else None
    if rng.random() < 0.2:
        return transcript, None
    chosen = rng.permutation(TAGS)[: int(rng.integers(1, 4))]
    return transcript, ", ".join(f"{tag} .{rng.integers(5, 100):02d}" for tag in chosen)


def texts(seed: int = 0, n: int = 2000) -> Iterator[str]:
    """Yield texts for the tokenizer: captions and what prompts consist of."""
    from feature_extractors.text.prompt_files import read_prompt

    rng = np.random.default_rng([seed, 0x5C])
    for _ in range(n):
        named = {factor: str(rng.choice(values)) for factor, values in FACTORS.items()}
        yield caption(named)
        yield transcript_of(named) or "no speech"
        side_texts = draw_told(named, rng)
        yield "user assistant Audio 1: " + read_prompt("describe-audio").format(
            transcript=side_texts[0], tags=side_texts[1]
        )


def build_qwen_audio(folder: Path, seed: int, vocabulary: Iterable[str] | None = None) -> None:
    """Write an untrained Qwen2-Audio-class checkpoint: configuration, tokenizer, processor, fp16 weights.

    Parameters
    ----------
    folder
        Where to write; made if absent.
    seed
        Of the weights. The caller's torch generator is left as it was.
    vocabulary
        Texts to learn the byte-level BPE vocabulary from; default: captions and prompts.
    """
    tokenizer = byte_level_bpe(texts() if vocabulary is None else vocabulary, SPECIAL_TOKENS)
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    stop = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder", "num_mel_bins": MELS, "encoder_layers": 2,
            "encoder_attention_heads": 4, "encoder_ffn_dim": 2 * WIDTH, "d_model": WIDTH,
            "max_source_positions": SECONDS * 50,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 256,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, **stop,
        },
        audio_token_index=ids["<|AUDIO|>"], **stop,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2AudioForConditionalGeneration(config)
    positions: Any = model.model.audio_tower.embed_positions
    positions.weight.data = sinusoids(*positions.weight.shape)  # Whisper's, which real checkpoints start from
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=MAX_NEW_TOKENS, **stop)
    listening = WhisperFeatureExtractor(feature_size=MELS, chunk_length=SECONDS, return_attention_mask=True)
    Qwen2AudioProcessor(listening, tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    save_qwen_audio(model, folder)


def save_qwen_audio(model: Qwen2AudioForConditionalGeneration, folder: Path) -> None:
    """Write configuration and weights as fp16 safetensors; the processor's files are left alone."""
    save_half(model, folder)


def log_mel(listening: Any, samples: np.ndarray, frames: int) -> np.ndarray:
    """Return the first log-mel frames (10 ms) that the checkpoint's own feature extractor makes, [`MELS`, frames]."""
    found = listening(samples, sampling_rate=listening.sampling_rate, padding="max_length", return_tensors="np")
    return found["input_features"][0, :, :frames]
