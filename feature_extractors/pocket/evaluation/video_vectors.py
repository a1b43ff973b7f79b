"""Probes of a pocket model's vectors: `python -m feature_extractors.pocket.evaluation.video_vectors --extractor NAME`.

Linear probes are fitted on clips without a held-back combination and tested on others of that kind and on clips that
each show one. All are rendered with seeds that neither training nor the demo uses, written as mp4 files as the demo
writes its own, and go through the extractor as real videos do. The random-weight baseline stands beside the checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.clip import Clip
from feature_extractors.pocket.evaluation.captioner import held_out_scenes
from feature_extractors.pocket.evaluation.text_encoder import level, most_frequent, probe
from feature_extractors.videomae import VideoMae
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import Scene, all_factors

EXTRACTORS = {extractor.name: extractor() for extractor in (VideoMae, Clip)}
#: Factors that no picture shows.
HEARD = ("rhythm", "mood", "spoken", "spoken_topic")
SETS = ("held-out clips", "held-back combinations")


def vectors(extractor: VideoMae | Clip, scenes: Sequence[Scene], folder: Path) -> np.ndarray:
    """Write the scenes as mp4 files into `folder` and extract: float32 [N, D]."""
    paths = [folder / f"{i:05}.mp4" for i in range(len(scenes))]
    for path, scene in zip(paths, scenes, strict=True):
        if not path.exists():
            path.write_bytes(encode(scene))
    source = ItemSource([path.stem for path in paths], [None] * len(paths), paths)
    return extractor.extract(source, ExtractContext(folder / "features")).values


def accuracies(found: np.ndarray, scenes: Sequence[Scene], fit_on: int) -> Mapping[str, list[float]]:
    """Accuracy of each factor on the two halves of the clips behind the first `fit_on`."""
    factors = [{name: level(value) for name, value in all_factors(scene).items()} for scene in scenes]
    border = fit_on + (len(scenes) - fit_on) // 2
    parts = [np.r_[:border], np.r_[:fit_on, border : len(scenes)]]
    return {
        name: [probe(found[part], [factors[i][name] for i in part], fit_on) for part in parts]
        for name in factors[0]
        if name not in HEARD
    }


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(description="Linear probes of an extractor's vectors.")
    parser.add_argument("--extractor", choices=EXTRACTORS, required=True)
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--fit-on", type=int, default=1200, help="clips that the probes are fitted on")
    parser.add_argument("--clips", type=int, default=400, help="clips in each of the two sets")
    parser.add_argument("--work", type=Path, help="where rendered clips and vectors are kept between runs")
    arguments = parser.parse_args()
    scenes = held_out_scenes(arguments.fit_on + arguments.clips, held_back=False, seed=1)
    scenes += held_out_scenes(arguments.clips, held_back=True, seed=1)
    columns: dict[str, Mapping[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for word in dict.fromkeys((arguments.checkpoint, "random")):
            extractor = replace(EXTRACTORS[arguments.extractor], checkpoint=word)
            columns[word] = accuracies(vectors(extractor, scenes, folder), scenes, arguments.fit_on)
    header = ["factor", "most frequent value", *(f"{word}, {kind}" for kind in SETS for word in columns)]
    rows = [header, ["---"] * len(header)]
    for name in next(iter(columns.values())):
        share = most_frequent([level(all_factors(scene)[name]) for scene in scenes[: arguments.fit_on]])
        rows.append([name, share, *(f"{column[name][kind]:.2f}" for kind in range(2) for column in columns.values())])
    sys.stdout.write("".join("| " + " | ".join(row) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
