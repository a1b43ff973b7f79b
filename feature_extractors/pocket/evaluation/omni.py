"""Accuracy of a pocket Qwen2.5-Omni: `python -m feature_extractors.pocket.evaluation.omni [--checkpoint PATH]`.

Sounding clips of seeds that neither training nor the demo uses, written as mp4 files as the demo writes its own, go
through the extractor as real videos do. Beside it stand the chain of pocket models that `av-captions` is (captioner;
Whisper, CLAP and Qwen2-Audio), on the same clips, and the random-weight baseline.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from feature_extractors.av_captions import AvCaptions, joined
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.omni_captions import OmniCaptions
from feature_extractors.pocket.building import corpus, sound_captions
from feature_extractors.pocket.building.clip_pool import ENTROPY
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import Scene, named_attributes, sample_scene

FACTORS = (*corpus.ATTRIBUTES, *sound_captions.FACTORS)


def held_out_scenes(n: int, *, held_back: bool, seed: int = 0) -> list[Scene]:
    """Draw sounding scenes that no training ever shows.

    Parameters
    ----------
    held_back
        All with a held-back combination of what is seen and one of what is heard, or none with any.
    """
    return list(islice(_scenes(np.random.default_rng([ENTROPY, seed, int(held_back), 0xE7A4]), held_back), n))


def _scenes(rng: np.random.Generator, held_back: bool) -> Iterator[Scene]:
    while True:
        scene = sample_scene(rng, held_back=held_back)
        if scene.mood != "none" and sound_captions.is_held_back(scene) == held_back:
            yield scene


def texts_of(extractor: OmniCaptions | AvCaptions, scenes: Sequence[Scene], folder: Path) -> list[str]:
    """Describe scenes written as mp4 files into `folder`, where they are not there yet; "" for a failure."""
    paths = [folder / f"{i:05}.mp4" for i in range(len(scenes))]
    for path, scene in zip(paths, scenes, strict=True):
        if not path.exists():
            path.write_bytes(encode(scene))
    source = ItemSource([path.stem for path in paths], [None] * len(paths), paths)
    context = ExtractContext(folder / "features")
    if isinstance(extractor, OmniCaptions):
        return list(extractor.texts(source, context).values)
    both = joined(extractor.visual.texts(source, context), extractor.audio.texts(source, context))
    return [str(text) for text in both.payloads]


def accuracy(texts: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of clips whose text names the right value, per factor, and of those where all of a kind are right.

    Returns
    -------
    dict
        By factor, then `all seen`, `all heard` and `all`.
    """
    hits = np.array([
        [said[factor] == true[factor] for factor in FACTORS]
        for said, true in (
            (
                {**corpus.read_caption(text), **sound_captions.read_caption(text)},
                {**named_attributes(scene), **sound_captions.heard_in(scene)},
            )
            for text, scene in zip(texts, scenes, strict=True)
        )
    ])  # fmt: skip
    seen = len(corpus.ATTRIBUTES)
    alls = {"all seen": hits[:, :seen], "all heard": hits[:, seen:], "all": hits}
    shares = dict(zip(FACTORS, hits.mean(axis=0).tolist(), strict=True))
    return shares | {name: float(part.all(axis=1).mean()) for name, part in alls.items()}


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(
        description="Accuracy of a pocket Qwen2.5-Omni, its chain and its random-weight baseline."
    )
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--clips", type=int, default=200, help="clips in each of the two sets")
    arguments = parser.parse_args()
    rows: dict[str, OmniCaptions | AvCaptions] = {
        f"omni, {arguments.checkpoint}": OmniCaptions(checkpoint=arguments.checkpoint),
        "chain, pocket": AvCaptions().resolved(True),
        "omni, random": OmniCaptions(checkpoint="random"),
    }
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, held_back in (("held-out clips", False), ("held-back combinations", True)):
            scenes = held_out_scenes(arguments.clips, held_back=held_back)
            (own := Path(folder) / kind).mkdir()
            for name, extractor in rows.items():
                shares = accuracy(texts_of(extractor, scenes, own), scenes)
                lines.append([f"{name}, {kind}", *(f"{share:.3f}" for share in shares.values())])
    header = ["", *FACTORS, "all seen", "all heard", "all"]
    table = [header, ["---"] * len(header), *lines]
    sys.stdout.write("".join("| " + " | ".join(line) + " |\n" for line in table))


if __name__ == "__main__":
    main()
