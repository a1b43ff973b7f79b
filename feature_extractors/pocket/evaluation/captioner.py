"""Accuracy of a captioner per attribute: `python -m feature_extractors.pocket.evaluation.captioner [--checkpoint DIR]`.

Clips are rendered with seeds that neither training nor the demo uses, written as mp4 files exactly as the demo writes
its own, decoded again, and captioned by the code that captions real videos.
The random-weight baseline stands beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from feature_extractors.media import video
from feature_extractors.media.frame_policy import Uniform
from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.video_captioner import Captioner
from feature_extractors.pocket import CAPTIONER
from feature_extractors.pocket.building.clip_pool import ENTROPY
from feature_extractors.pocket.building.corpus import ATTRIBUTES, read_caption
from feature_extractors.pocket.building.qwen_vl import FRAMES, MAX_NEW_TOKENS
from feature_extractors.text.prompt_files import read_prompt
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import Scene, named_attributes, sample_scene

BATCH = 32


def held_out_scenes(n: int, *, held_back: bool, seed: int = 0) -> list[Scene]:
    """Draw scenes that no training ever shows: all with a held-back combination of attributes, or none."""
    rng = np.random.default_rng([ENTROPY, seed, int(held_back), 0xE7A1])
    return [sample_scene(rng, held_back=held_back) for _ in range(n)]


def caption_scenes(captioner: Captioner, scenes: Sequence[Scene], folder: Path) -> Iterator[str]:
    """Write the scenes as mp4 files into `folder`, decode them and yield their captions."""
    for start in range(0, len(scenes), BATCH):
        yield from captioner(decoded(scenes[start : start + BATCH], folder))


def decoded(scenes: Sequence[Scene], folder: Path) -> list[Clip]:
    """Write each scene as an mp4 file into `folder` and decode it."""
    clips = []
    for i, scene in enumerate(scenes):
        path = folder / f"{i}.mp4"
        path.write_bytes(encode(scene))
        clip = video.decode(path, Uniform(FRAMES))
        assert isinstance(clip, Clip), clip
        clips.append(clip)
        path.unlink()
    return clips


def accuracy(captions: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Compute the share of clips whose caption names the right value, per attribute, and where `all` are right."""
    return right(map(read_caption, captions), map(named_attributes, scenes))


def right(said: Iterable[Mapping[str, str]], true: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """Compute the share of clips with the right value, per attribute, and of those where `all` are right."""
    hits = [[one.get(a) == truth[a] for a in ATTRIBUTES] for one, truth in zip(said, true, strict=True)]
    shares = np.mean(hits, axis=0)
    return {a: float(s) for a, s in zip(ATTRIBUTES, shares, strict=True)} | {"all": float(np.mean(np.all(hits, 1)))}


def chance() -> list[str]:
    """Return the row of a table with the accuracy by chance."""
    shares = [f"{1 / len(values):.3f}" for a, values in ATTRIBUTES.items() if a != "word"]
    return ["always the most frequent value", *shares, "0.350", ""]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in markdown, and an empty line."""
    lines = [header, ["---"] * len(header), *rows]
    sys.stdout.write("".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n")


def main() -> None:
    """Command line: print a markdown table."""
    parser = argparse.ArgumentParser(
        description="Accuracy of a captioner per attribute, beside its random-weight baseline."
    )
    parser.add_argument("--checkpoint", default="pocket")
    parser.add_argument("--pocket", type=Path, default=CAPTIONER, help="directory that `pocket` and `random` stand for")
    parser.add_argument("--clips", type=int, default=400, help="clips in each of the two sets")
    parser.add_argument("--prompt", default="describe")
    arguments = parser.parse_args()
    prompt = read_prompt(arguments.prompt)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for word in dict.fromkeys((arguments.checkpoint, "random")):
            captioner = Captioner(resolve(word, arguments.pocket), "float32", "cpu", prompt, MAX_NEW_TOKENS)
            for kind, held_back in (("held-out clips", False), ("held-back combinations", True)):
                scenes = held_out_scenes(arguments.clips, held_back=held_back)
                shares = accuracy(list(caption_scenes(captioner, scenes, Path(folder))), scenes)
                rows.append([f"{word}, {kind}", *(f"{share:.3f}" for share in shares.values())])
    rows.append(chance())
    print_table(["", *ATTRIBUTES, "all"], rows)


if __name__ == "__main__":
    main()
