"""Accuracy of a pocket Qwen2-Audio: `python -m feature_extractors.pocket.evaluation.qwen_audio [--checkpoint PATH]`.

Soundtracks of scenes that no training and no demo uses, encoded as the demo encodes its own and captioned by the code
that captions real clips; once with the transcript in the prompt, once without.
The random-weight baseline stands beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.qwen_audio import AudioCaptioner, SoundWithTexts
from feature_extractors.pocket import QWEN_AUDIO
from feature_extractors.pocket.building import sound_captions as corpus
from feature_extractors.pocket.building import speech
from feature_extractors.pocket.building.clip_pool import ENTROPY
from feature_extractors.text.prompt_files import read_prompt
from protocols.datasets.demo.scene import Scene, render_audio

BATCH = 16


def held_out_scenes(n: int, *, held_back: bool, seed: int = 0) -> list[Scene]:
    """Draw sounding scenes that no training ever shows: all with a held-back combination, or none."""
    rng = np.random.default_rng([ENTROPY, seed, int(held_back), 0xE7A3])
    return list(islice(corpus.sounding_scenes(rng, held_back=held_back), n))


def caption_scenes(captioner: AudioCaptioner, scenes: Sequence[Scene], with_transcript: bool) -> list[str]:
    """Caption the soundtracks of scenes, with a perfect transcript in the prompt or without."""
    captions: list[str] = []
    for start in range(0, len(scenes), BATCH):
        batch = []
        for scene in scenes[start : start + BATCH]:
            sound = Sound(speech.through_aac(render_audio(scene)), 1, RATE, "")
            batch.append(
                SoundWithTexts(sound, corpus.transcript_of(corpus.heard_in(scene)) if with_transcript else None, None)
            )
        captions += captioner(batch)
    return captions


def accuracy(captions: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of sounds whose caption names the right value, per factor, and of those where `all` are right."""
    hits = [
        [said[factor] == true[factor] for factor in corpus.FACTORS]
        for said, true in zip(map(corpus.read_caption, captions), map(corpus.heard_in, scenes), strict=True)
    ]
    shares = zip(corpus.FACTORS, np.mean(hits, axis=0), strict=True)
    return {factor: float(share) for factor, share in shares} | {"all": float(np.mean(np.all(hits, axis=1)))}


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Accuracy of a pocket Qwen2-Audio, beside its random-weight baseline.")
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--sounds", type=int, default=300, help="in each of the two sets")
    arguments = parser.parse_args()
    rows = [["", *corpus.FACTORS, "all"], ["---"] * (len(corpus.FACTORS) + 2)]
    for word in dict.fromkeys((arguments.checkpoint, "random")):
        found = resolve(word, QWEN_AUDIO)
        captioner = AudioCaptioner(found, "float32", "cpu", read_prompt("describe-audio"), corpus.MAX_NEW_TOKENS)
        for kind, held_back in (("held-out sounds", False), ("held-back combinations", True)):
            scenes = held_out_scenes(arguments.sounds, held_back=held_back)
            for with_transcript in (True, False):
                shares = accuracy(caption_scenes(captioner, scenes, with_transcript), scenes)
                name = f"{word}, {kind}, {'with transcript' if with_transcript else 'sound alone'}"
                rows.append([name, *(f"{share:.3f}" for share in shares.values())])
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
