"""Accuracy of a pocket Whisper: `python -m feature_extractors.pocket.evaluation.whisper [--checkpoint PATH]`.

Soundtracks of scenes that no training and no demo uses, encoded as the demo encodes its own, transcribed and judged by
the code that transcribes real clips. The random-weight baseline stands beside it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.whisper import Transcriber, Window, parse, resolve
from feature_extractors.pocket import WHISPER
from feature_extractors.pocket.building import speech
from feature_extractors.pocket.building.clip_pool import ENTROPY
from feature_extractors.transcripts import Speech, Transcripts
from protocols.datasets.demo.scene import Scene, render_audio

BATCH = 16
KINDS = ("spoken", "spoken, held-back combinations", "music alone")


def held_out_scenes(kind: str, n: int, seed: int = 0) -> list[Scene]:
    """Draw sounding scenes of one of `KINDS` that no training ever shows."""
    rng = np.random.default_rng([ENTROPY, seed, KINDS.index(kind), 0xE7A2])
    scenes = list(islice(speech.speaking_scenes(rng, held_back="held-back" in kind), n))
    return [replace(scene, spoken="") for scene in scenes] if kind == "music alone" else scenes


def transcribe(transcriber: Transcriber, scenes: Sequence[Scene]) -> list[Window]:
    """Transcribe the soundtracks of scenes, none of which is longer than a window."""
    windows = []
    for start in range(0, len(scenes), BATCH):
        sounds = [speech.through_aac(render_audio(scene)) for scene in scenes[start : start + BATCH]]
        found = transcriber([Sound(samples, 1, RATE, "") for samples in sounds])
        windows += [window for text in found for window in parse(text)]
    return windows


def right(windows: Sequence[Window], scenes: Sequence[Scene]) -> np.ndarray:
    """Return bool [N]: the word written is the one spoken."""
    said = [re.findall(r"[a-z]+", window.text.lower()) for window in windows]
    return np.array([words == [scene.spoken] for words, scene in zip(said, scenes, strict=True)])


def no_speech(windows: Sequence[Window]) -> np.ndarray:
    """Return bool [N]: the window is flagged as without speech, at the thresholds of `transcripts`."""
    judge = Speech(Transcripts.no_speech, Transcripts.logprob, Transcripts.compression)
    return np.array([bool(judge.doubt(window)) for window in windows])


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Accuracy of a pocket Whisper, beside its random-weight baseline.")
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--sounds", type=int, default=300, help="of each kind")
    arguments = parser.parse_args()
    rows = [["", "word right", "flagged as no speech", "no-speech probability", "log-probability"], ["---"] * 5]
    for word in dict.fromkeys((arguments.checkpoint, "random")):
        transcriber = Transcriber(resolve(word, WHISPER), "float32", "cpu")
        for kind in KINDS:
            scenes = held_out_scenes(kind, arguments.sounds)
            windows = transcribe(transcriber, scenes)
            accuracy = f"{right(windows, scenes).mean():.3f}" if kind != "music alone" else ""
            means = np.mean([(window.no_speech, window.logprob) for window in windows], axis=0)
            rows.append([f"{word}, {kind}", accuracy, f"{no_speech(windows).mean():.3f}", *(f"{x:.3f}" for x in means)])
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
