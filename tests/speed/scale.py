"""Throughput of extraction on a Ray cluster of one machine by its nodes, against the ideal, and what Ray itself costs.

    python tests/speed/scale.py [--nodes 1 2 4 8] [--blocks 4] [--seconds 0.05] [--demo 128]

A node has one call at a time: a model that sleeps `--seconds` for each clip, and a process that decodes clips of 3 s
(H.264, 112 x 112) ahead of it. Every node has `--blocks` blocks of 64 clips to do. Ideal are nodes / seconds clips a
second, which many nodes miss for two reasons: the cores of this machine, on which all of them decode and commit, and
what a part takes to begin and to end. Processes of the nodes are started before the clock is.

Then captions of `--demo` clips of the demo are made in this process and by one call at a time on the cluster: `ratio
ray: X` is that of the wall seconds, models loaded in both; `ratio ray cpu: X` that of the CPU seconds in the ledgers.

At the end one part of 4,096 items is looked up in a store of `--rows` items, as every part does when it begins.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from extract import encode_clips
from tabulate import tabulate

from bench import registry
from bench.runs import cluster_extraction, engines
from bench.runs.run import item_source
from bench.runs.worker import peak_memory_mb
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.options import FrameOptions
from feature_extractors.pipeline import sharding
from feature_extractors.store.lance import FeatureStore, Row
from protocols.features import Features, FeatureSpace
from protocols.progress import Quiet

FRAMES, SIZE = 24, 112


@dataclass(frozen=True)
class Sleeping(FrameOptions, Extractor):
    """A model of known speed: it sleeps, and returns the mean colour of a clip."""

    name: ClassVar[str] = "sleeping"

    seconds: float = 0.05

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Decode all clips and sleep."""
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage

        def model(clips: list[Any]) -> np.ndarray:
            time.sleep(self.seconds * len(clips))
            return np.stack([clip.frames.mean(axis=(0, 1, 2), dtype=np.float32) for clip in clips])

        inputs = self.select_frames(source, context)
        space = FeatureSpace(f"{self.name}.vector", 1, "vector", {"parents": [], **inputs.config})
        return run_stage(Stage(space, self.name, 8, lambda: model, inputs.reader), inputs, context)


def copies(paths: Sequence[Path], count: int, folder: Path) -> ItemSource:
    """Link clips under many names, each an item of its own."""
    folder.mkdir()
    for at in range(count):
        os.link(paths[at % len(paths)], folder / f"{at:06d}.mp4")
    found = sorted(folder.iterdir())
    return ItemSource([path.name for path in found], [None] * count, found)


@contextmanager
def cluster() -> Iterator[Any]:
    """Start a cluster whose head computes nothing."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # as engines.connected, before Ray is imported
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray = engines.connected(made.address)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def throughput(
    extractor: Sleeping, clips: Sequence[Path], nodes: int, blocks: int, scratch: Path
) -> tuple[int, float, float]:
    """Return how many clips were extracted, the wall seconds, and the CPU seconds of the nodes in their stages."""
    warm = copies(clips, 2 * nodes * sharding.BLOCK, scratch / f"warm-{nodes}")
    cluster_extraction.extract(replace(extractor, seconds=0.0), warm, ExtractContext(scratch / "warm"), "auto")
    source = copies(clips, blocks * nodes * sharding.BLOCK, scratch / f"clips-{nodes}")
    context = ExtractContext(scratch / f"store-{nodes}")
    clock = time.perf_counter()
    features = cluster_extraction.extract(extractor, source, context, "auto")
    wall = time.perf_counter() - clock
    assert features is not None
    return len(source.item_ids), wall, sum(used.cpu_s for used in features.usage.values() if used is not None)


def ratios_to_local(count: int, scratch: Path) -> dict[str, float]:
    """Extract captions of the demo here and on the cluster; return Ray's seconds as shares of those here."""
    plugin = registry.create("dataset", "demo", {"demo": {"clips": count, "users": 40, "interactions": 3 * count}})
    source = item_source(plugin, plugin.load(scratch / "data", Quiet()))
    extractor = registry.create("extractor", "captions", {}).resolved(simulated=True)
    here = ExtractContext(scratch / "local", models={})

    def local(folder: str) -> Features | None:
        return extractor.extract(source, replace(here, store=scratch / folder))

    def shared(folder: str) -> Features | None:
        return cluster_extraction.extract(extractor, source, ExtractContext(scratch / folder), "auto")

    found = {}
    for work in (local, shared):
        work(f"{work.__name__}-first")  # loads the models
        clock = time.perf_counter()
        features = work(work.__name__)
        assert features is not None
        cpu = sum(used.cpu_s for used in features.usage.values() if used is not None)
        found[work] = time.perf_counter() - clock, cpu
    wall, cpu = (here / there for here, there in zip(found[shared], found[local], strict=True))
    return {"ray": wall, "ray cpu": cpu}


def lookup(rows: int, scratch: Path) -> str:
    """Look up one part in a store with many rows, and say what that took."""
    store = FeatureStore(scratch / "large", FeatureSpace("large.vector", 1, "vector", {}))
    content = hashlib.sha256().hexdigest()
    value = np.zeros(1, np.float32)
    for start in range(0, rows, sharding.BLOCK):
        ids = (f"{at:012d}" for at in range(start, min(rows, start + sharding.BLOCK)))
        store.add([Row(item_id, content, "ok", "", 0.0, value) for item_id in ids])
    store.commit()
    part = [f"{at:012d}" for at in range(min(rows, 4096))]
    before, clock = peak_memory_mb(), time.process_time()
    store.read(part, [content] * len(part))
    seconds = time.process_time() - clock
    return f"{len(part)} of {rows} rows looked up: {seconds:.1f} CPU s, {peak_memory_mb() - before:.0f} MB"


def scaling(nodes: Sequence[int], blocks: int, seconds: float, demo: int, scratch: Path) -> None:
    """Print the throughput by nodes, and what Ray costs."""
    clips = encode_clips(scratch, sharding.BLOCK, FRAMES, SIZE)
    rows = []
    with cluster() as made:
        for count in sorted(nodes):
            while len(made.worker_nodes) < count:
                made.add_node(num_cpus=2)
            made.wait_for_nodes()
            done, wall, cpu = throughput(Sleeping(seconds=seconds), clips, count, blocks, scratch)
            ideal = count / seconds
            rows.append([count, done, wall, done / wall, ideal, f"{done / wall / ideal:.0%}", 1000 * cpu / done])
        for node in list(made.worker_nodes)[1:]:
            made.remove_node(node)
        head = ["nodes", "clips", "s", "clips/s", "ideal", "share", "CPU ms a clip"]
        print(tabulate(rows, head, tablefmt="github", floatfmt=".1f"), flush=True)
        for name, ratio in ratios_to_local(demo, scratch).items() if demo else ():
            print(f"ratio {name}: {ratio:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--demo", type=int, default=128, help="0: not compared")
    parser.add_argument("--rows", type=int, default=200_000, help="0: not looked up")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        if given.nodes:
            scaling(given.nodes, given.blocks, given.seconds, given.demo, scratch)
        if given.rows:
            print(lookup(given.rows, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
