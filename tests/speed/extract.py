"""Wall seconds of an extraction against the longer of its two halves, decoding alone and the models alone.

    python tests/speed/extract.py [captions videomae ...] [--clips 512] [--samples 3] [--frames 24] [--size 112]

Clips are encoded first (H.264 with sound, for a realistic cost of decoding). Then, in one process and with loaded
models, three parts are timed in turn, `--samples` times:

- `decode`: every clip through the decoding process, nothing else;
- `models`: every model call of every stage on decoded inputs, batch by batch, nothing else;
- `whole`: the extraction into an empty store, hashes of the files and writing included.

Where everything overlaps, `whole` is as long as the longer of the other two: the ratio of the medians is 1. It prints a
table and ends with lines `ratio NAME: X`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from bench import registry
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media.result import Failure
from feature_extractors.pipeline import run, sharding
from feature_extractors.pipeline.stage import Inputs, Stage
from feature_extractors.store.lance import Row
from protocols.errors import BenchError

DEFAULT = ("captions", "videomae")


def encode_clips(folder: Path, count: int, frames: int, size: int) -> list[Path]:
    """Encode clips of a block that moves over noise, at 8 frames per second."""
    import av

    paths = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        path = folder / f"{seed:05d}.mp4"
        ground = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=8)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            for index in range(frames):
                image = ground.copy()
                at = (seed + 3 * index) % (size - size // 4)
                image[at : at + size // 4, at : at + size // 4] = rng.integers(0, 256, 3)
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        paths.append(path)
    return paths


class StageRecorder:
    """The stages of one extraction as they ran, with models that are loaded once."""

    def __init__(self) -> None:
        self.ran: dict[str, tuple[Stage, Inputs]] = {}
        self._models: dict[str, Any] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note every stage that has something to do, and keep its model."""
        original = run.compute

        def compute(stage: Stage, inputs: Inputs, *rest: Any) -> dict[str, Row]:
            name = stage.space.id
            if name not in self._models:
                self._models[name] = cache(stage.model)
            kept = replace(stage, model=self._models[name])
            self.ran[name] = (kept, inputs)
            return original(kept, inputs, *rest)

        run.compute = compute  # type: ignore[assignment]
        try:
            yield
        finally:
            run.compute = original

    def decode(self) -> dict[str, list[Any]]:
        """Read all file inputs of the stages, and return them."""
        found: dict[str, list[Any]] = {}
        for name, (stage, inputs) in self.ran.items():
            payloads = [p for p, failure in zip(inputs.payloads, inputs.failures, strict=True) if failure is None]
            if stage.reader is not None:
                with stage.reader(1) as reader:
                    found[name] = list(reader.map(payloads, 2 * stage.batch))
        return found

    def models(self, decoded: dict[str, list[Any]]) -> None:
        """Call every model on all inputs, in the batches of the extraction."""
        for name, (stage, inputs) in self.ran.items():
            model = stage.model()
            left = iter(decoded.get(name, ()))
            for batch in sharding.batches(inputs.item_ids, stage.batch):
                usable = [at for at in batch if inputs.failures[at] is None]
                ready = [next(left) if name in decoded else inputs.payloads[at] for at in usable]
                model([one for one in ready if not isinstance(one, Failure)])


def timed(work: Callable[[], Any]) -> float:
    """Measure wall seconds of a call."""
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock


def measure(name: str, source: ItemSource, samples: int, scratch: Path) -> dict[str, list[float]]:
    """Time the three parts of one extractor in turn; the first extraction loads the models and is no sample."""
    extractor = registry.create("extractor", name, {}).resolved(simulated=True)
    recorder = StageRecorder()
    seconds: dict[str, list[float]] = {"decode": [], "models": [], "whole": []}
    with recorder.recording():
        extractor.extract(source, ExtractContext(scratch / name / "first"))
        decoded = recorder.decode()
        for sample in range(samples):
            context = ExtractContext(scratch / name / str(sample))
            seconds["decode"].append(timed(recorder.decode))
            seconds["models"].append(timed(lambda: recorder.models(decoded)))
            seconds["whole"].append(timed(partial(extractor.extract, source, context)))
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extractors", nargs="*", help=f"by default {' and '.join(DEFAULT)}, as far as they are there")
    for option, default in (("clips", 512), ("samples", 3), ("frames", 24), ("size", 112)):
        parser.add_argument(f"--{option}", type=int, default=default)
    given = parser.parse_args()
    names = given.extractors or [name for name in DEFAULT if name in registry.names("extractor")]
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        paths = encode_clips(Path(scratch), given.clips, given.frames, given.size)
        source = ItemSource([path.name for path in paths], [None] * len(paths), paths)
        for name in names:
            try:
                found = measure(name, source, given.samples, Path(scratch))
            except BenchError as error:
                raise SystemExit(f"{name}: {error}") from error
            middle = {part: statistics.median(values) for part, values in found.items()}
            ratios[name] = middle["whole"] / max(middle["decode"], middle["models"])
            rows += [
                [name, part, middle[part], f"{min(values):.2f} to {max(values):.2f}", given.clips / middle[part]]
                for part, values in found.items()
            ]
    print(tabulate(rows, ["extractor", "part", "median s", "range", "clips/s"], tablefmt="github", floatfmt=".2f"))
    for name, ratio in ratios.items():
        print(f"ratio {name}: {ratio:.2f}")


if __name__ == "__main__":
    main()
