"""Training data of the pocket Whisper (spoken words mixed with soundtracks) and its untrained architecture.

The vocabulary of openai-whisper (51,864 rows, English only) cannot be made smaller: its tokenizer ships with it. Only
the rows of tokens that occur in the training texts are learned one by one; all others share a single learned row, so
that the softmax over the whole vocabulary is the one over the few rows with that one counted as often as it stands.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from safetensors.torch import save_file
from whisper.audio import HOP_LENGTH, log_mel_spectrogram
from whisper.model import ModelDimensions, Whisper

from feature_extractors.models.whisper import draw_weights
from feature_extractors.pocket.building.clip_pool import ENTROPY
from protocols.datasets.demo.factors import SPOKEN
from protocols.datasets.demo.scene import SAMPLE_RATE, Scene, render_audio, sample_scene

#: Spoken words that no training sound mixes with this mood or rhythm; the demo's own clips do.
HELD_BACK = {
    "mood": (("thunder", "dark"), ("tiger", "bright"), ("honey", "dark"), ("wedding", "bright")),
    "rhythm": (("rainbow", "none"), ("dolphin", "fast"), ("tomato", "slow"), ("mother", "fast")),
}
#: Longest soundtrack of the demo with a margin, in log-mel frames of 10 ms; what follows is padding.
FRAMES = 430
#: Shares of training sounds with a word, of music alone, and (the rest) of faint noise.
SPEAKING, MUSIC = 0.6, 0.3
#: Where a word starts in the demo's clips, in seconds; half of the training sounds start it anywhere up to `LATEST`.
START, LATEST = 0.2, 1.0
AAC_SHARE = 0.5


def dimensions() -> dict[str, int]:
    """Return openai-whisper's `ModelDimensions`: the width is what 51,864 rows leave room for."""
    return {
        "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 48, "n_audio_head": 3, "n_audio_layer": 2,
        "n_vocab": 51864, "n_text_ctx": 64, "n_text_state": 48, "n_text_head": 3, "n_text_layer": 2,
    }  # fmt: skip


def build_whisper(folder: Path, seed: int) -> None:
    """Write an untrained checkpoint; the caller's torch generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Whisper(ModelDimensions(**dimensions()))
        draw_weights(model)
    save_whisper(model, folder)


def save_whisper(model: Whisper, folder: Path) -> None:
    """Write `config.json` (the dimensions) and fp16 `model.safetensors` with the names of openai-whisper."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(asdict(model.dims), indent=2) + "\n")


@dataclass(frozen=True, eq=False)
class Mix:
    """Training sound with the words spoken in it.

    Attributes
    ----------
    samples
        float32 [T], 16 kHz.
    word
        "" when nobody speaks.
    start, end
        Of the word, in seconds; 0 without one.
    """

    samples: np.ndarray
    word: str
    start: float
    end: float


def is_held_back(scene: Scene) -> bool:
    """Return True for a word over a mood or a rhythm that no training sound mixes it with."""
    return any((scene.spoken, getattr(scene, factor)) in pairs for factor, pairs in HELD_BACK.items())


def speaking_scenes(rng: np.random.Generator, *, held_back: bool) -> Iterator[Scene]:
    """Draw scenes in which a word is spoken: all with a held-back combination, or none."""
    while True:
        scene = sample_scene(rng, held_back=False)
        if scene.mood != "none":
            scene = replace(scene, spoken=SPOKEN[int(rng.integers(len(SPOKEN)))])
            if is_held_back(scene) == held_back:
                yield scene


def training_mixes(seed: int, n: int) -> Iterator[Mix]:
    """Make training sounds: words over soundtracks, soundtracks alone, faint noise; half of them through AAC."""
    rng = np.random.default_rng([ENTROPY, seed, 0x59EE])
    speaking = speaking_scenes(rng, held_back=False)
    for _ in range(n):
        kind = rng.random()
        if kind < SPEAKING:
            mix = _moved(next(speaking), rng)
        elif kind < SPEAKING + MUSIC:
            mix = Mix(render_audio(replace(next(speaking), spoken="")), "", 0, 0)
        else:
            mix = Mix(faint_noise(rng), "", 0, 0)
        loud = mix.samples * np.float32(rng.uniform(0.5, 1.2))
        yield replace(mix, samples=through_aac(loud) if rng.random() < AAC_SHARE else loud)


def faint_noise(rng: np.random.Generator) -> np.ndarray:
    """Draw one to four seconds of white noise, from nearly silent to faint."""
    noise = 10 ** rng.uniform(-4, -1.5) * rng.standard_normal(int(rng.integers(1, 5)) * SAMPLE_RATE)
    return noise.astype(np.float32)


def _moved(scene: Scene, rng: np.random.Generator) -> Mix:
    """Render a scene whose word starts where it does in the demo, or elsewhere."""
    quiet = render_audio(replace(scene, spoken=""))
    spoken = render_audio(scene)
    changed = np.flatnonzero(spoken != quiet)
    begin, end = int(changed[0]), int(changed[-1]) + 1
    shift = 0 if rng.random() < 0.5 else int(rng.uniform(-START, LATEST - START) * SAMPLE_RATE)
    shift = min(shift, len(quiet) - end)
    samples = quiet.copy()
    # what the word is mixed onto stays where it is in the bar, only some 0.5 s of it come from elsewhere
    samples[begin + shift : end + shift] = spoken[begin:end]
    start = START + shift / SAMPLE_RATE
    return Mix(samples, scene.spoken, start, start + (end - int(START * SAMPLE_RATE)) / SAMPLE_RATE)


def through_aac(samples: np.ndarray) -> np.ndarray:
    """Encode float32 [T] as the demo's clips are and decode it again, without the encoder's delay at the front."""
    file = io.BytesIO()
    options = {"b": "48k", "aac_coder": "fast"}
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options=options)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as back:
        return np.concatenate([block.to_ndarray()[0] for block in back.decode(audio=0)])


def log_mel(samples: np.ndarray) -> Any:
    """Return the log-mel frames that openai-whisper makes of a sound and what follows it: float32 [80, `FRAMES`]."""
    padded = torch.zeros(FRAMES * HOP_LENGTH)
    padded[: len(samples)] = torch.from_numpy(samples[: len(padded)])
    return log_mel_spectrogram(padded)


def tokens_of(mix: Mix, tokenizer: Any) -> list[int]:
    """Return the target tokens of a sound: `<|start|> Word.<|end|>`, or no speech.

    Examples
    --------
    >>> from whisper.tokenizer import get_tokenizer
    >>> tokenizer = get_tokenizer(False)
    >>> tokenizer.decode_with_timestamps(tokens_of(Mix(np.zeros(1), "tiger", 0.2, 0.68), tokenizer))
    '<|0.20|> Tiger.<|0.68|><|endoftext|>'
    >>> tokens_of(Mix(np.zeros(1), "", 0, 0), tokenizer) == [tokenizer.no_speech, tokenizer.eot]
    True
    """
    if not mix.word:
        return [tokenizer.no_speech, tokenizer.eot]
    begin, end = (tokenizer.timestamp_begin + round(seconds / 0.02) for seconds in (mix.start, mix.end))
    return [begin, *tokenizer.encode(f" {mix.word.capitalize()}."), end, tokenizer.eot]


def used_tokens(tokenizer: Any) -> list[int]:
    """Return the tokens with a row of their own: words, marks, and timestamps of the first four seconds."""
    words = {token for word in SPOKEN for token in tokenizer.encode(f" {word.capitalize()}.")}
    marks = {tokenizer.sot, tokenizer.eot, tokenizer.no_speech}
    return sorted(words | marks | set(range(tokenizer.timestamp_begin, tokenizer.timestamp_begin + 201)))


def spread(rows: torch.Tensor, used: list[int], count: int) -> torch.Tensor:
    """Return [count, D]: the rows of `used` in their places, the last one of `rows` everywhere else."""
    whole = rows[-1:].repeat(count, 1)
    whole[used] = rows[:-1]
    return whole
