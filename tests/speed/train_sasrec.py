"""Training speed of our SASRec against RecBole's own, on ml-100k leave-one-out, in one process.

    python tests/speed/train_sasrec.py [--skip-quality] [--samples 5]

Both sides run on one thread, with autograd's anomaly mode off, on the same training targets, and are scored by the
same ranking code with the same masks. Ours has the size of RecBole's network here (two blocks, feed-forward 256).

1. CPU seconds per epoch: median over interleaved samples of five batches, scaled by targets to an epoch.
2. CPU seconds of training to the validation nDCG@10 of RecBole's after three epochs. This takes ten minutes.

It prints a table and ends with lines `ratio NAME: X`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate

from protocols.evaluation.ranking import Ranker
from protocols.ranking_problem import Problem, RankingTask, TrainingData
from recommenders.base import FitRequest
from recommenders.data.sequences import pad_histories
from recommenders.recbole import adapter, compat
from recommenders.sasrec import SASRec
from recommenders.training import loop

MAX_LENGTH = 50  # MAX_ITEM_LIST_LENGTH of RecBole's properties
STOCK_BATCH, STOCK_LR = 2048, 1e-3  # train_batch_size and learning_rate of RecBole's properties
OURS = SASRec(layers=2, inner=256, max_length=MAX_LENGTH, batch=2048, lr=5e-3)
TIE_SEED = 0


def leave_one_out() -> Problem:
    """Load ml-100k, all ratings, ordered by time and then by row of the file; the second last item is the target."""
    import recbole

    path = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    log = pd.read_csv(path, sep="\t").rename(columns=lambda name: name.split(":")[0])
    log = log.sort_values("timestamp", kind="stable")
    sequences = {str(u): rows.to_numpy().astype(str) for u, rows in log.groupby("user_id")["item_id"]}
    fitted = {user: items[:-2] for user, items in sequences.items() if len(items) > 3}
    warm = np.unique(np.concatenate(list(fitted.values())))
    cold = np.setdiff1d(np.concatenate(list(sequences.values())), warm)
    items = np.concatenate([warm, cold])
    position = {item: i for i, item in enumerate(items)}
    users = np.array(sorted(fitted))
    histories = [np.array([position[i] for i in fitted[user]], dtype=np.int64) for user in users]
    data = TrainingData(
        items=items,
        n_warm=len(warm),
        users=users,
        user=np.repeat(np.arange(len(users)), [len(h) for h in histories]),
        item=np.concatenate(histories),
        timestamp=np.concatenate([np.arange(len(h)) for h in histories]),
        border=2**62,
        release=np.zeros(len(items), dtype=np.int64),
    )
    targets = [np.array([position[sequences[user][-2]]], dtype=np.int64) for user in users]
    return Problem(data, RankingTask(users, histories, data.warm, targets))


@dataclass
class Spent:
    """CPU seconds of training, and the number of targets trained in them."""

    seconds: float = 0.0
    targets: int = 0


class Ours:
    """Our model under our loop."""

    def __init__(self, problem: Problem, seed: int = 1) -> None:
        request = FitRequest(problem.training, seed=seed, epochs=1)
        self.model, self.encoder, self.batches, self.scorer = OURS.prepare(request)
        self.fit = loop.Fit(self.model, self.encoder, request, OURS.plan())
        self.targets = sum(len(s) - 1 for s in problem.training.sequences)

    def train(self, epoch: int, batches: int | None = None) -> Spent:
        """Train on some batches of an epoch, or on all."""
        spent = Spent()

        def counted() -> Iterator[dict[str, torch.Tensor]]:
            for batch in islice(self.batches(epoch), batches):
                spent.targets += int((batch[self.model.POS_ITEM_ID] > 0).sum())
                yield batch

        start = time.process_time()
        self.fit.train_epoch(counted())
        spent.seconds = time.process_time() - start
        return spent

    def validate(self, ranker: Ranker) -> float:
        """Compute validation nDCG@10 of the parameters that training would keep."""
        with self.fit.averaged():
            return ranker.ndcg(self.scorer())


class Stock:
    """RecBole's SASRec with its default options, one row for each prefix, under the loop of its Trainer."""

    def __init__(self, problem: Problem) -> None:
        self.n_items = len(problem.training.items)
        sequences = problem.training.sequences
        self.rows = [(user, end) for user, s in enumerate(sequences) for end in range(1, len(s))]
        self.sequences, self.targets = sequences, len(self.rows)
        torch.manual_seed(1)
        self.model = adapter.build(
            compat.model_class("SASRec"),
            problem.training,
            compat.default_options("SASRec"),
            max_length=MAX_LENGTH,
            device="cpu",
        )
        assert not torch.is_anomaly_enabled()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=STOCK_LR)

    def _inputs(self, histories: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        ids, length = pad_histories(histories, MAX_LENGTH)
        padded = np.zeros((len(ids), MAX_LENGTH), dtype=np.int64)  # RecBole pads to the full length
        padded[:, : ids.shape[1]] = ids
        return {
            self.model.ITEM_SEQ: torch.from_numpy(padded),
            self.model.ITEM_SEQ_LEN: torch.from_numpy(length),
        }

    def train(self, epoch: int, batches: int | None = None) -> Spent:
        """Train on some batches of an epoch, or on all."""
        spent = Spent()
        start = time.process_time()
        order = np.random.default_rng(epoch).permutation(len(self.rows))
        self.model.train()
        for at in list(range(0, len(order), STOCK_BATCH))[:batches]:
            rows = [self.rows[i] for i in order[at : at + STOCK_BATCH]]
            batch = self._inputs([self.sequences[user][max(end - MAX_LENGTH, 0) : end] for user, end in rows])
            batch[self.model.POS_ITEM_ID] = torch.tensor([int(self.sequences[user][end]) + 1 for user, end in rows])
            self.optimizer.zero_grad()
            self.model.calculate_loss(batch).backward()
            self.optimizer.step()
            spent.targets += len(rows)
        spent.seconds = time.process_time() - start
        return spent

    def validate(self, ranker: Ranker) -> float:
        """Compute validation nDCG@10 of the current parameters."""
        self.model.eval()
        return ranker.ndcg(self)

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items, as the scorer contract asks."""
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            warm = self.model.full_sort_predict(self._inputs(histories))[:, 1:].numpy()
        scores[:, : warm.shape[1]] = warm
        return scores


def epoch_seconds(sides: dict[str, Any], samples: int) -> dict[str, float]:
    """Measure median CPU seconds of an epoch, from interleaved samples of five batches."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.train(1, batches=1)  # warm-up
    for sample in range(samples):
        for name, side in sides.items():
            spent = side.train(2 + sample, batches=5)
            found[name].append(spent.seconds / spent.targets * side.targets)
    return {name: float(np.median(values)) for name, values in found.items()}


def to_quality(problem: Problem, stock_epochs: int, most: int) -> tuple[list[list[Any]], float]:
    """Return rows of (side, epoch, CPU seconds so far, nDCG@10), and stock's seconds over ours at stock's best."""
    ranker, rows, spent, wanted = Ranker(problem, TIE_SEED), [], 0.0, -1.0
    stock, best_at = Stock(problem), 0.0
    for epoch in range(1, stock_epochs + 1):
        spent += stock.train(epoch).seconds
        value = stock.validate(ranker)
        rows.append(["RecBole", epoch, spent, value])
        if value > wanted:
            wanted, best_at = value, spent
    ours, spent = Ours(problem), 0.0
    for epoch in range(1, most + 1):
        spent += ours.train(epoch).seconds
        value = ours.validate(ranker)
        rows.append(["ours", epoch, spent, value])
        if value >= wanted:
            return rows, best_at / spent
    return rows, float("nan")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--skip-quality", action="store_true")
    parser.add_argument("--stock-epochs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    problem = leave_one_out()
    seconds = epoch_seconds({"RecBole": Stock(problem), "ours": Ours(problem)}, arguments.samples)
    print(tabulate(seconds.items(), ("SASRec on ml-100k, 1 thread", "CPU s per epoch"), floatfmt=".2f"))
    ratios = {"epoch": seconds["RecBole"] / seconds["ours"]}
    if not arguments.skip_quality:
        rows, ratios["quality"] = to_quality(problem, arguments.stock_epochs, most=40)
        print()
        print(tabulate(rows, ("side", "epoch", "CPU s", "valid nDCG@10"), floatfmt=("", "", ".1f", ".4f")))
    print()
    for name, ratio in ratios.items():
        print(f"ratio {name}: {ratio:.1f}")


if __name__ == "__main__":
    main()
