"""Memory of training on states of many layers: DFF for one epoch, over a table larger than the memory it may take.

    python tests/speed/layers_memory.py [--items 20000 --layers 33 --readouts 2 --width 1024 --users 50000]

A table of random states [items, layers, readouts, width] in float16 is written to a file and mapped (2.7 GB by
default). SASRec with `gate/softmax` is trained for one epoch on sequences of random items with the loss over those of
the batch, as in DFF's released code: one readout is taken, statistics are computed in chunks, and a step computes
the vectors of its own items. Then 1,000 users are ranked.

It prints seconds and peak resident memory, and ends with a line `ratio memory: X`, peak over the size of the table.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from protocols.evaluation.ranking import Ranker
from protocols.features import Features, FeatureSpace
from protocols.ranking_problem import Problem, RankingTask, TrainingData
from recommenders.base import FitRequest
from recommenders.sasrec import SASRec


def table(path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Write random states to a file and map it."""
    rng = np.random.default_rng(0)
    states = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for at in range(0, shape[0], 500):
        part = states[at : at + 500]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    states.flush()
    del states
    return np.load(path, mmap_mode="r")


def data(users: int, items: int) -> TrainingData:
    """Draw seven items for each user, popular ones more often."""
    rng = np.random.default_rng(1)
    taken = np.minimum(rng.exponential(items / 5, size=users * 7).astype(np.int64), items - 1)
    taken[:items] = np.arange(items)  # every item is warm
    return TrainingData(
        np.array([f"i{k:06d}" for k in range(items)]), items, np.array([f"u{k:06d}" for k in range(users)]),
        np.repeat(np.arange(users), 7), taken, np.tile(np.arange(7), users), 10, np.zeros(items, np.int64),
    )  # fmt: skip


def peak() -> float:
    """Measure peak resident memory in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"items": 20_000, "layers": 33, "readouts": 2, "width": 1024, "users": 50_000}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shape = (asked.items, asked.layers, asked.readouts, asked.width)
    fitted = data(asked.users, asked.items)
    with tempfile.TemporaryDirectory() as folder:
        states = table(Path(folder) / "states.npy", shape)
        names = ["mean", *(f"other{k}" for k in range(1, asked.readouts))]
        space = FeatureSpace("random.layers", 1, "layers", {"readouts": names})
        status, reason = np.full(asked.items, "ok"), np.full(asked.items, "")
        found = Features(space, list(fitted.items), states, status, reason, np.zeros(asked.items, np.float32))
        size = states.nbytes / 2**30
        print(f"table {shape}: {size:.2f} GB; peak before {peak():.2f} GB")
        clock = time.perf_counter()
        features = found.select_readout("mean").align(list(fitted.items), fitted.warm)
        aligned = time.perf_counter() - clock
        model = SASRec(layers=2, max_length=10, batch=5120, loss="in-batch-plain", activation="relu", negatives="warm")
        clock = time.perf_counter()
        result = model.fit(FitRequest(fitted, features, "gate/softmax", 1, epochs=1))
        trained = time.perf_counter() - clock
        histories = fitted.sequences[:1000]
        targets = [np.array([k % asked.items]) for k in range(1000)]
        task = RankingTask(fitted.users[:1000], histories, np.ones(asked.items, bool), targets)
        clock = time.perf_counter()
        Ranker(Problem(fitted, task), 0).ndcg(result.scorer)
        print(f"align {aligned:.0f} s, one epoch and the table of all items {trained:.0f} s, "
              f"ranking of 1,000 users {time.perf_counter() - clock:.1f} s; peak {peak():.2f} GB")  # fmt: skip
        print(f"ratio memory: {peak() / size:.2f}")


if __name__ == "__main__":
    main()
