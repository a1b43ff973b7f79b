"""Soundtrack of a demo clip: a chord, a beat, a spoken word, or silence."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

import numpy as np

from protocols.datasets.demo.factors import FPS, Scene

SAMPLE_RATE = 16_000

#: Semitones above the root and frequency of the root in Hz.
CHORDS = {"bright": ((0, 4, 7, 12), 392.0), "dark": ((0, 3, 6, 12), 130.8)}
BEATS_PER_SECOND = {"slow": 1.5, "fast": 5.0}


def render_audio(scene: Scene) -> np.ndarray:
    """Render the soundtrack of a scene.

    Returns
    -------
    np.ndarray
        float32 [n], mono, 16 kHz, as long as the picture, within [-1, 1]; all zero for a silent clip.
    """
    n = scene.frames * SAMPLE_RATE // FPS
    if scene.mood == "none":
        return np.zeros(n, dtype=np.float32)
    sound = 0.2 * _chord(scene.mood, round(scene.pitch * 4) - 2)[:n]
    if scene.rhythm != "none":
        beat = _beat()
        for start in np.arange(0, n, SAMPLE_RATE / BEATS_PER_SECOND[scene.rhythm]).astype(int):
            part = sound[start : start + len(beat)]
            part += beat[: len(part)]
    if scene.spoken:
        voice = _speech()[scene.spoken]
        start = SAMPLE_RATE // 5
        part = sound[start : start + len(voice)]
        part *= 0.25  # quieter music under a voice
        part += 0.7 * voice[: len(part)]
    return np.clip(sound, -1, 1).astype(np.float32)


@lru_cache(maxsize=16)
def _chord(mood: str, key: int) -> np.ndarray:
    """Four seconds of a chord, float32; every call of one key gets the same read-only array."""
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    steps, root = CHORDS[mood]
    hertz = root * 2 ** ((np.array(steps) + key) / 12)
    sound = sum(np.sin(2 * np.pi * f * t) + 0.3 * np.sin(4 * np.pi * f * t) for f in hertz) / len(steps)
    return (sound * np.minimum(1, 20 * t)).astype(np.float32)


@lru_cache(maxsize=1)
def _beat() -> np.ndarray:
    """One drum stroke, float32 [1600]."""
    t = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    noise = np.random.default_rng(3).standard_normal(len(t))
    stroke = 0.5 * np.sin(2 * np.pi * 90 * t) * np.exp(-30 * t) + 0.12 * noise * np.exp(-90 * t)
    return stroke.astype(np.float32)


@lru_cache(maxsize=1)
def _speech() -> dict[str, np.ndarray]:
    """Spoken snippets that ship with the package (`make_speech.py` made them): word -> float32 [n]."""
    import av  # heavy, and only rendering needs it

    here = resources.files("protocols.datasets.demo")
    index = json.loads(here.joinpath("speech.json").read_text())
    with here.joinpath("speech.flac").open("rb") as file, av.open(file, "r") as container:
        parts = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    sound = np.concatenate(parts).astype(np.float32) / 32768
    return {word: sound[start:end] for word, (start, end) in index.items()}
