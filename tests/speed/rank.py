"""Speed of full ranking: users per CPU second as a share of the speed of the matrix product alone.

    python tests/speed/rank.py [--items 19221] [--users 4096] [--dim 64] [--samples 7]

One process, one thread. The floor is the product of all user vectors with all item vectors in chunks that stay in
cache, without use of the scores. Against it: `Ranker.ndcg`, called after every epoch for validation (exact ranks
of all targets among unseen candidates, ties by hash), `Ranker.rank`, the source of a record (the same, and the top
20), and the method of RecBole's evaluation (all scores of a batch of 256 users in one array, seen items masked, `topk`,
the positions of the targets looked up). Samples are interleaved; a share is the median over samples of floor / time.

It prints a table and ends with lines `ratio NAME: X`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from tabulate import tabulate

from protocols.evaluation.ranking import Ranker
from protocols.ranking_problem import Problem, RankingTask, TrainingData

STOCK_BATCH = 256


class Dot:
    """Scorer by a product alone."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor) -> None:
        self.users, self.items = users, items

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score users named by their number."""
        first = int(users[0])
        return (self.users[first : first + len(users)] @ self.items.T).numpy()


def problem(users: int, items: int, rng: np.random.Generator) -> Problem:
    """Draw one new item for each user behind seven seen ones, as in MicroLens-50k."""
    ids = np.array([f"i{k:06d}" for k in range(items)])
    taken = [rng.choice(items, size=8, replace=False) for _ in range(users)]
    names = np.array([f"{k:06d}" for k in range(users)])
    data = TrainingData(
        ids, items, names, np.repeat(np.arange(users), 7), np.concatenate([row[:7] for row in taken]),
        np.tile(np.arange(7), users), 10, np.zeros(items, np.int64),
    )  # fmt: skip
    task = RankingTask(names, [row[:7] for row in taken], np.ones(items, bool), [row[7:] for row in taken])
    return Problem(data, task)


def stock(scorer: Dot, task: RankingTask) -> float:
    """Compute mean nDCG@10 as RecBole's evaluation does, for one target a user."""
    found = []
    for start in range(0, len(task.users), STOCK_BATCH):
        stop = min(start + STOCK_BATCH, len(task.users))
        scores = scorer.users[start:stop] @ scorer.items.T
        rows = torch.from_numpy(np.repeat(np.arange(stop - start), [len(h) for h in task.histories[start:stop]]))
        scores[rows, torch.from_numpy(np.concatenate(task.histories[start:stop]))] = -torch.inf
        top = torch.topk(scores, 10, dim=1).indices
        wanted = torch.from_numpy(np.concatenate(task.targets[start:stop]))
        positive = torch.zeros_like(scores, dtype=torch.int64)
        positive[torch.arange(stop - start), wanted] = 1
        found.append(torch.gather(positive, 1, top))
    hits = torch.cat(found).numpy()
    return float((hits / np.log2(np.arange(2, 12))).sum(axis=1).mean())


def floor(scorer: Dot, chunk: int) -> None:
    """Compute the product alone."""
    out = torch.empty(chunk, len(scorer.items))
    for start in range(0, len(scorer.users), chunk):
        part = scorer.users[start : start + chunk]
        torch.mm(part, scorer.items.T, out=out[: len(part)])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=19_221)
    parser.add_argument("--users", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--samples", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    made = problem(arguments.users, arguments.items, rng)
    vectors = [
        torch.from_numpy(rng.normal(size=(count, arguments.dim)).astype(np.float32))
        for count in (arguments.users, arguments.items)
    ]
    scorer, ranker = Dot(*vectors), Ranker(made, 0)
    ways: dict[str, Callable[[], object]] = {
        "floor": lambda: floor(scorer, ranker.chunk),
        "ndcg": lambda: ranker.ndcg(scorer),
        "rank": lambda: ranker.rank(scorer),
        "recbole": lambda: stock(scorer, made.task),
    }
    assert abs(ranker.ndcg(scorer) - stock(scorer, made.task)) < 1e-9, "the two ways disagree"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for _ in range(arguments.samples):
            for name, way in ways.items():
                clock = time.process_time()
                way()
                seconds[name].append(time.process_time() - clock)
    rows = []
    for name in ways:
        share = float(np.median(np.array(seconds["floor"]) / np.array(seconds[name])))
        rows.append([name, arguments.users / np.median(seconds[name]), share])
    print(
        tabulate(rows, ["way", "users per CPU s", "share of the floor"], tablefmt="github", floatfmt=("", ".0f", ".2f"))
    )
    for name, _, share in rows[1:]:
        print(f"ratio {name}: {share:.2f}")


if __name__ == "__main__":
    main()
