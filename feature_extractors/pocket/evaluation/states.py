"""Probes of what a pocket decoder holds: `python -m feature_extractors.pocket.evaluation.states --extractor NAME`.

Linear probes are fitted on clips without a held-back combination and tested on others of that kind and on clips that
each show one, as in `evaluate_captioner`; all go through the extractor as real videos do. For each factor the layer and
readout are chosen on a quarter of the clips fitted on. The random-weight baseline stands beside the checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.linkedout import LinkedOut
from feature_extractors.pocket.evaluation.captioner import held_out_scenes
from feature_extractors.pocket.evaluation.text_encoder import level, most_frequent, probe
from protocols.datasets.demo.factors import Scene, all_factors
from protocols.datasets.demo.media import encode

EXTRACTORS = {extractor.name: extractor() for extractor in (LinkedOut, HiddenStates)}
#: Factors that no picture shows.
HEARD = ("rhythm", "mood", "spoken", "spoken_topic")
SETS = ("held-out clips", "held-back combinations")


def states(extractor: HiddenStates, scenes: Sequence[Scene], folder: Path) -> tuple[np.ndarray, list[str]]:
    """Write the scenes as mp4 files into `folder` and extract: float32 [N, places, D], and a name for each place."""
    paths = [folder / f"{i:05}.mp4" for i in range(len(scenes))]
    for path, scene in zip(paths, scenes, strict=True):
        if not path.exists():
            path.write_bytes(encode(scene))
    source = ItemSource([path.stem for path in paths], [None] * len(paths), paths)
    features = extractor.extract(source, ExtractContext(folder / "features"))
    places = [(layer, name) for layer in range(features.values.shape[1]) for name in features.space.readouts]
    found = np.stack([features.readout(*place) for place in places], axis=1)
    return found, [f"{name} {layer}" for layer, name in places]


def accuracies(found: np.ndarray, values: Sequence[str], fit_on: int) -> tuple[int, list[float]]:
    """Place chosen for a factor, and its accuracy on the two halves of the clips behind the first `fit_on`."""
    cut = fit_on * 3 // 4
    best = int(np.argmax([probe(found[:fit_on, at], values[:fit_on], cut) for at in range(found.shape[1])]))
    border = fit_on + (len(values) - fit_on) // 2
    parts = [np.r_[:border], np.r_[:fit_on, border : len(values)]]
    return best, [probe(found[part, best], [values[i] for i in part], fit_on) for part in parts]


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Linear probes of the states of a decoder.")
    parser.add_argument("--extractor", choices=EXTRACTORS, default="linkedout")
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--baseline", default="random")
    parser.add_argument("--fit-on", type=int, default=800, help="clips that the probes are fitted on")
    parser.add_argument("--clips", type=int, default=400, help="clips in each of the two sets")
    arguments = parser.parse_args()
    scenes = held_out_scenes(arguments.fit_on + arguments.clips, held_back=False, seed=1)
    scenes += held_out_scenes(arguments.clips, held_back=True, seed=1)
    factors = {
        name: [level(all_factors(scene)[name]) for scene in scenes]
        for name in all_factors(scenes[0])
        if name not in HEARD
    }
    words = (arguments.checkpoint, arguments.baseline)
    columns: list[dict[str, tuple[str, list[float]]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for word in words:
            found, places = states(replace(EXTRACTORS[arguments.extractor], checkpoint=word), scenes, Path(folder))
            columns.append({})
            for name, values in factors.items():
                best, shares = accuracies(found, values, arguments.fit_on)
                columns[-1][name] = places[best], shares
    header = ["factor", "most frequent value", *(f"{word}, {kind}" for kind in SETS for word in words), "read from"]
    rows = [header, ["---"] * len(header)]
    for name, values in factors.items():
        cells = [f"{column[name][1][kind]:.2f}" for kind in range(len(SETS)) for column in columns]
        rows.append([name, most_frequent(values[: arguments.fit_on]), *cells, columns[0][name][0]])
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
