"""Accuracy of a pocket CLAP: `python -m feature_extractors.pocket.evaluate_clap [--checkpoint PATH]`.

Soundtracks that no training and no demo uses, encoded as the demo encodes its own, heard by the code that hears real
clips. Zero-shot: the best of the phrases of a factor. Probe: a ridge regression from the vectors, fitted on other
sounds, drawn as the demo draws its own. The random-weight twin stands beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from feature_extractors.audio import RATE, Sound
from feature_extractors.backbones.checkpoints import resolve
from feature_extractors.backbones.clap import Clap
from feature_extractors.pocket import CLAP, soundtracks, speech
from feature_extractors.pocket.pool import ENTROPY
from feature_extractors.pocket.sound_captions import is_held_back
from protocols.datasets.demo.factors import SPOKEN_TOPICS
from protocols.datasets.demo.scene import Scene, all_factors, render_audio, sample_scene

BATCH = 16
#: Phrases of each factor that zero-shot classification chooses among.
CHOICES = {
    "mood": {"bright": "a bright chord", "dark": "a dark chord"},
    "rhythm": {"none": "music without a beat", "slow": "a slow beat", "fast": "a fast beat"},
    "spoken_topic": {"none": "no voice", **{topic: f"a voice about {topic}" for topic in SPOKEN_TOPICS}},
}
PROBED = ("mood", "rhythm", "spoken", "spoken_topic")
KINDS = ("held-out", "held-back combinations")


def scenes(kind: str, n: int, seed: int = 0) -> list[Scene]:
    """Draw sounding scenes of one of `KINDS`, or of any (`probe`), with streams that nothing else uses."""
    rng = np.random.default_rng([ENTROPY, seed, ("probe", *KINDS).index(kind), 0xC1A9])

    def drawn() -> Iterator[Scene]:
        while True:
            scene = sample_scene(rng)
            if scene.mood != "none" and (kind == "probe" or is_held_back(scene) == (kind == KINDS[1])):
                yield scene

    return list(islice(drawn(), n))


def vectors(model: Clap, chosen: Sequence[Scene]) -> np.ndarray:
    """Encode the soundtracks of scenes, through AAC: float32 [N, D]."""
    parts = []
    for start in range(0, len(chosen), BATCH):
        sounds = [speech.through_aac(render_audio(scene)) for scene in chosen[start : start + BATCH]]
        parts.append(model([Sound(samples, 1, RATE, 0) for samples in sounds]))
    return np.concatenate(parts)


def zero_shot(model: Clap, heard: np.ndarray, chosen: Sequence[Scene], factor: str) -> float:
    """Share of sounds whose best phrase of a factor is the true one."""
    texts = model.read([soundtracks.FRAMES[0].format(phrase) for phrase in CHOICES[factor].values()])
    best = np.array(list(CHOICES[factor]))[(heard @ texts.T).argmax(axis=1)]
    return float(np.mean(best == values(chosen, factor)))


def probe(fitted: np.ndarray, levels: np.ndarray, scored: np.ndarray, true: np.ndarray) -> float:
    """Fit a ridge regression from vectors [N, D] to the levels [N] and return its accuracy on others."""
    names, codes = np.unique(levels, return_inverse=True)
    mean = fitted.mean(axis=0)
    scale = (fitted - mean).std()
    x, z = ((part.astype(np.float64) - mean) / scale for part in (fitted, scored))
    wanted = np.eye(len(names))[codes]
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (wanted - wanted.mean(axis=0)))
    return float(np.mean(names[(z @ weights + wanted.mean(axis=0)).argmax(axis=1)] == true))


def values(chosen: Sequence[Scene], factor: str) -> np.ndarray:
    """Level of a factor in each scene."""
    return np.array([all_factors(scene)[factor] for scene in chosen])


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Accuracy of a pocket CLAP, beside its random twin.")
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--sounds", type=int, default=400, help="of each kind; twice as many for the probes")
    arguments = parser.parse_args()
    fit = scenes("probe", 2 * arguments.sounds)
    columns = [*(f"zero-shot {factor}" for factor in CHOICES), *(f"probe {factor}" for factor in PROBED)]
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for kind in KINDS:
        held = scenes(kind, arguments.sounds)
        for word in dict.fromkeys((arguments.checkpoint, "random")):
            model = Clap(resolve(word, CLAP), "float32", "cpu")
            known, heard = vectors(model, fit), vectors(model, held)
            cells = [zero_shot(model, heard, held, factor) for factor in CHOICES]
            cells += [probe(known, values(fit, factor), heard, values(held, factor)) for factor in PROBED]
            rows.append([f"{word}, {kind}", *(f"{cell:.3f}" for cell in cells)])
        most = [np.unique(values(held, factor), return_counts=True)[1].max() / len(held) for factor in PROBED]
        rows.append([f"most frequent value, {kind}", *[""] * len(CHOICES), *(f"{share:.3f}" for share in most)])
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
