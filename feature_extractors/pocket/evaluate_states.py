"""Linear probes of what a pocket model's decoder holds: `python -m feature_extractors.pocket.evaluate_states`.

Clips are made as `evaluate_captioner` makes them. Ridge classifiers are fitted on 800 clips without a held-back
combination and scored on new clips of that kind and on clips with one. For each attribute the layer and readout are
chosen on a quarter of the clips fitted on. The random-weight twin stands beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feature_extractors import media
from feature_extractors.backbones.checkpoints import resolve
from feature_extractors.backbones.families import decoder_of
from feature_extractors.backbones.query_states import QueryReader, ToldClip
from feature_extractors.captions import read_prompt
from feature_extractors.frames import Uniform
from feature_extractors.pocket import LLAVA_ONEVISION
from feature_extractors.pocket.architecture import FRAMES
from feature_extractors.pocket.evaluate_captioner import BATCH, held_out_scenes
from protocols.datasets.demo.factors import Scene, all_factors
from protocols.datasets.demo.media import encode

FACTORS = ("count", "colour", "shape", "motion", "setting", "word", "texture", "camera", "palette")
RIDGE = 1.0


def states_of(reader: QueryReader, scenes: Sequence[Scene], folder: Path) -> np.ndarray:
    """Write the scenes as mp4 files into `folder`, decode them and read their states, float32 [N, L * R, D]."""
    found = []
    for start in range(0, len(scenes), BATCH):
        clips = []
        for i, scene in enumerate(scenes[start : start + BATCH]):
            path = folder / f"{i}.mp4"
            path.write_bytes(encode(scene))
            clip = media.decode(path, Uniform(FRAMES))
            assert isinstance(clip, media.Clip), clip
            clips.append(ToldClip.of(clip))
        found.append(reader(clips))
    states = np.concatenate(found)
    return states.reshape(len(states), -1, states.shape[-1])


class Probe:
    """A ridge classifier from vectors to the values of a factor.

    Parameters
    ----------
    x
        [N, D].
    values
        N of them.
    """

    def __init__(self, x: np.ndarray, values: Sequence[str]) -> None:
        self._mean, self._known = x.mean(axis=0), sorted(set(values))
        self._scale = max(float((x - self._mean).std()), 1e-12)
        a, y = self._inputs(x), np.eye(len(self._known))[[self._known.index(value) for value in values]]
        self._weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(a.shape[1]), a.T @ y)

    def accuracy(self, x: np.ndarray, values: Sequence[str]) -> float:
        """Share of other items whose value is found."""
        said = (self._inputs(x) @ self._weights).argmax(axis=1)
        return float(np.mean([self._known[at] == value for at, value in zip(said, values, strict=True)]))

    def _inputs(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([(x - self._mean) / self._scale, np.ones((len(x), 1))], axis=1).astype(np.float64)


def scores(
    fit: np.ndarray, tests: Sequence[np.ndarray], fit_values: Sequence[str], values: Sequence[Sequence[str]]
) -> list[float]:
    """Accuracies on each set of tests; the place (layer and readout) is chosen on the last quarter of `fit`."""
    cut = len(fit) * 3 // 4
    inner = [
        Probe(fit[:cut, place], fit_values[:cut]).accuracy(fit[cut:, place], fit_values[cut:])
        for place in range(fit.shape[1])
    ]
    best = int(np.argmax(inner))
    probe = Probe(fit[:, best], fit_values)
    return [probe.accuracy(test[:, best], of) for test, of in zip(tests, values, strict=True)]


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Linear probes of a pocket model's states, beside its random twin.")
    parser.add_argument("--pocket", type=Path, default=LLAVA_ONEVISION, help="directory of the checkpoint")
    parser.add_argument("--clips", type=int, default=400, help="clips in each of the two sets that are scored")
    parser.add_argument("--prompt", default="recommend")
    parser.add_argument("--new-tokens", type=int, default=8)
    arguments = parser.parse_args()
    scenes = held_out_scenes(800 + arguments.clips, held_back=False, seed=1)
    sets = [scenes[:800], scenes[800:], held_out_scenes(arguments.clips, held_back=True, seed=1)]
    rows: list[list[str]] = []
    for word in ("pocket", "random"):
        checkpoint = resolve(word, arguments.pocket)
        family = decoder_of(checkpoint).family
        reader = QueryReader(checkpoint, family, "float32", "cpu", read_prompt(arguments.prompt), arguments.new_tokens)
        with tempfile.TemporaryDirectory() as folder:
            fit, *tests = (states_of(reader, part, Path(folder)) for part in sets)
        found = []
        for factor in FACTORS:
            fit_values, *values = ([str(all_factors(scene)[factor]) for scene in part] for part in sets)
            found.append(scores(fit, tests, fit_values, values))
        for at, kind in enumerate(("held-out clips", "held-back combinations")):
            rows.append([f"{word}, {kind}", *(f"{one[at]:.2f}" for one in found)])
    header = ["", *FACTORS]
    lines = [header, ["---"] * len(header), *rows]
    sys.stdout.write("".join("| " + " | ".join(line) + " |\n" for line in lines))


if __name__ == "__main__":
    main()
