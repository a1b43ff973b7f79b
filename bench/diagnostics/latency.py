"""Latency of requests with stored item vectors: exact ranking, and approximate retrieval through a vector index.

A request is a user with a history of clips: the model encodes it as a vector, and the ten best unseen items are
retrieved. Item vectors are made once by the trained item encoder. They are ranked exactly, by one product with the
whole table, or through a vector index of Lance, whose recall is measured against the exact list.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import torch
from tabulate import tabulate
from torch import Tensor

from protocols.errors import UserError
from protocols.progress import Progress
from protocols.wording import counted

TOP = 10
#: Users served at once where throughput is measured.
BATCH = 64
#: Probed partitions, from few to all; the first number whose recall suffices is taken.
PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


@dataclass(frozen=True)
class Timing:
    """Measurements of one retrieval method over one catalogue.

    Attributes
    ----------
    way
        `exact`, or the index and its number of probed partitions.
    items
        Size of the catalogue.
    p50, p99
        Milliseconds of a request, one at a time: model and retrieval.
    throughput
        Requests a second, `BATCH` at a time; for an index one at a time.
    recall
        Share of the exact ten that are retrieved; 1 for `exact`.
    """

    way: str
    items: int
    p50: float
    p99: float
    throughput: float
    recall: float


def catalogue(vectors: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Make a catalogue of another size: the first of the vectors, or all of them followed by simulated ones.

    A simulated vector is a trained one, drawn at random, plus normal noise with half of the covariance of the trained
    ones: as many directions, no two alike, clusters that overlap.

    Parameters
    ----------
    vectors
        float32 [M, W].
    count
        Rows wanted.
    """
    if count <= len(vectors):
        return vectors[:count]
    rng = np.random.default_rng([seed, count])
    variance, directions = np.linalg.eigh(np.cov(vectors.T).reshape(vectors.shape[1], -1))
    spread = (directions * np.sqrt(variance.clip(min=0) / 2)).astype(np.float32)
    made = np.empty((count, vectors.shape[1]), dtype=np.float32)
    made[: len(vectors)] = vectors
    for at in range(len(vectors), count, 100_000):
        stop = min(at + 100_000, count)
        noise = rng.standard_normal((stop - at, vectors.shape[1]), dtype=np.float32) @ spread.T
        made[at:stop] = vectors[rng.integers(len(vectors), size=stop - at)] + noise
    return made


@dataclass(frozen=True, eq=False)
class Requests:
    """Users to serve.

    Attributes
    ----------
    users
        Raw ids.
    histories
        Item positions of each, oldest first: input of the model, and never recommended again.
    """

    users: Sequence[str]
    histories: Sequence[np.ndarray]


def requests(users: Sequence[str], histories: Sequence[np.ndarray], count: int, length: int, seed: int = 0) -> Requests:
    """Draw users with histories of one length: their own, with items of other users before them where too short."""
    known = [at for at, history in enumerate(histories) if len(history)]
    if not known:
        raise UserError("no user of the test window has a history")
    rng = np.random.default_rng([seed, 0x1A7])
    everything = np.concatenate([histories[at] for at in known])
    chosen = rng.choice(known, size=count)
    filled = [
        np.concatenate([rng.choice(everything, size=max(0, length - len(histories[at]))), histories[at]])[-length:]
        for at in chosen
    ]
    return Requests([users[at] for at in chosen], filled)


Retrieve = Callable[[Tensor, np.ndarray], np.ndarray]


def exact(table: Tensor) -> Retrieve:
    """Retrieve by one product with the table [M, W]."""

    def retrieve(user: Tensor, seen: np.ndarray) -> np.ndarray:
        scores = torch.mv(table, user)
        scores[torch.from_numpy(seen[seen < len(table)])] = -torch.inf
        return torch.topk(scores, TOP).indices.numpy()

    return retrieve


def indexed(dataset: Any, probes: int) -> Retrieve:
    """Retrieve through a vector index."""

    def retrieve(user: Tensor, seen: np.ndarray) -> np.ndarray:
        nearest = {"column": "vector", "q": user.numpy(), "k": TOP + len(seen), "nprobes": probes, "metric": "dot"}
        found = dataset.to_table(columns=["item", "_distance"], nearest=nearest)["item"].to_numpy()
        return found[~np.isin(found, seen)][:TOP]

    return retrieve


def build_index(vectors: np.ndarray, folder: Path) -> Any:
    """Write vectors [M, W] and an inverted file over them, of about sqrt(M) partitions, without quantization."""
    table = pa.table(
        {
            "item": pa.array(np.arange(len(vectors))),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        }
    )
    dataset = lance.write_dataset(table, folder)
    partitions = max(1, round(len(vectors) ** 0.5))
    return dataset.create_index("vector", index_type="IVF_FLAT", metric="dot", num_partitions=partitions)


def measure(
    scorer: Any,
    wanted: Requests,
    sizes: Sequence[int],
    recall: float,
    progress: Progress,
    *,
    index_from: int = 100_000,
) -> list[Timing]:
    """Time requests over catalogues of some sizes, exactly and, from `index_from` items on, through an index.

    Parameters
    ----------
    scorer
        Of a fitted model with `user_vectors` and `item_vectors`.
    recall
        Recall that the index must reach, with as few probed partitions as possible. The first half of the requests
        chooses their number, the second half is timed.
    """
    vectors = scorer.item_vectors().float().cpu().numpy()
    rows = []
    for size in sizes:
        table = catalogue(vectors, size)
        half = len(wanted.users) // 2
        with progress.task(counted(size, "item")):
            one = exact(torch.from_numpy(table))
            milliseconds, lists = _timed(scorer, wanted, one, range(len(wanted.users)))
            rows.append(_row("exact", size, milliseconds[half:], _batched(scorer, wanted, table), 1.0))
            if size < index_from:
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows.append(_through_index(scorer, wanted, build_index(table, Path(folder) / "index"), lists, recall))
    return rows


def table(rows: Sequence[Timing]) -> str:
    """Write measurements as a table."""
    body = [[r.way, r.items, f"{r.p50:.2f}", f"{r.p99:.2f}", f"{r.throughput:.0f}", f"{r.recall:.3f}"] for r in rows]
    head = ["retrieval", "items", "p50 ms", "p99 ms", "requests/s", f"recall@{TOP}"]
    return tabulate(body, head, tablefmt="github", disable_numparse=True)


def _through_index(scorer: Any, wanted: Requests, dataset: Any, lists: list[np.ndarray], recall: float) -> Timing:
    half, count = len(wanted.users) // 2, dataset.count_rows()
    partitions = max(1, round(count**0.5))
    for probes in PROBES:
        _, found = _timed(scorer, wanted, indexed(dataset, probes), range(half))
        if _recall(found, lists[:half]) >= recall or probes >= partitions:
            break
    milliseconds, found = _timed(scorer, wanted, indexed(dataset, probes), range(half, len(wanted.users)))
    way = f"Lance IVF_FLAT, {min(probes, partitions)} of {partitions} partitions"
    return _row(way, count, milliseconds, 1000 / float(np.mean(milliseconds)), _recall(found, lists[half:]))


def _row(way: str, items: int, milliseconds: np.ndarray, throughput: float, recall: float) -> Timing:
    p50, p99 = (float(np.percentile(milliseconds, share)) for share in (50, 99))
    return Timing(way, items, p50, p99, throughput, recall)


def _timed(scorer: Any, wanted: Requests, retrieve: Retrieve, which: range) -> tuple[np.ndarray, list[np.ndarray]]:
    """Measure milliseconds and lists of requests served one at a time; the first three are served twice."""
    milliseconds, lists = [], []
    for warm, at in [*((True, at) for at in which[:3]), *((False, at) for at in which)]:
        clock = time.perf_counter()
        with torch.inference_mode():
            user = scorer.user_vectors([wanted.users[at]], [wanted.histories[at]])[0].float().cpu()
            found = retrieve(user, wanted.histories[at])
        if not warm:
            milliseconds.append((time.perf_counter() - clock) * 1000)
            lists.append(found)
    return np.array(milliseconds), lists


def _batched(scorer: Any, wanted: Requests, table: np.ndarray) -> float:
    """Measure requests a second, `BATCH` at a time, over a table [M, W]."""
    items = torch.from_numpy(table)
    # scores of a batch stay below a gigabyte, whatever the catalogue
    step = max(1, min(BATCH, 250_000_000 // len(table)))
    clock = time.perf_counter()
    with torch.inference_mode():
        for at in range(0, len(wanted.users), step):
            part = slice(at, at + step)
            users = scorer.user_vectors(wanted.users[part], wanted.histories[part]).float().cpu()
            scores = users @ items.T
            for row, history in zip(scores, wanted.histories[part], strict=True):
                row[torch.from_numpy(history[history < len(table)])] = -torch.inf
            torch.topk(scores, TOP, dim=1)
    return len(wanted.users) / (time.perf_counter() - clock)


def _recall(found: Sequence[np.ndarray], lists: Sequence[np.ndarray]) -> float:
    return float(np.mean([np.isin(right, mine).mean() for mine, right in zip(found, lists, strict=True)]))
