"""Training speed of our SASRec against RecTools' own, on ml-100k leave-one-out, each on one thread.

    python tests/speed/train_sasrec_rectools.py [--python PYTHON] [--seeds 1,2,3] [--epochs 80] [--most 40]

RecTools wants another numpy, hence an environment of its own: PYTHON is one with `rectools[torch]` installed; without
it `uv run --with 'rectools[torch]'` makes one. Both get the same log, train networks of one size (two blocks, two
heads, width 64, the last 50 items at a time; RecTools 128 sequences a step at 1e-3, which gave it its best quality
among the settings tried), are checked on the second last item of each user, and are scored by one code with the same
masks.

1. CPU seconds per epoch, and per training target: RecTools takes the last 50 items of a user, ours all of them.
2. CPU seconds of training to RecTools' best validation nDCG@10 of the same seed, checks not counted.
3. Quality at the end: the best check of each side.

It prints a table and ends with lines `ratio NAME: X`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate
from train_sasrec import MAX_LENGTH, TIE_SEED, Ours, leave_one_out

from protocols.evaluation.ranking import Ranker
from protocols.ranking_problem import Problem

SIDE = Path(__file__).with_name("rectools_side.py")


class Scores:
    """Scorer of scores written by another program."""

    def __init__(self, problem: Problem, scores: np.ndarray, items: np.ndarray) -> None:
        self.row = {user: at for at, user in enumerate(problem.training.users)}
        place = {item: at for at, item in enumerate(problem.training.items)}
        self.scores = np.full((len(self.row), len(place)), -np.inf, dtype=np.float32)
        self.scores[:, [place[str(item)] for item in items]] = scores

    def score(self, users: Any, histories: Any) -> np.ndarray:
        """Score all items, as the scorer contract asks."""
        return self.scores[[self.row[user] for user in users]]


def rectools(problem: Problem, folder: Path, python: str | None, words: list[str]) -> dict[int, list[tuple]]:
    """Read (epoch, CPU seconds, nDCG@10) of RecTools' checks, by seed."""
    training = problem.training
    log = pd.DataFrame(
        {
            "user_id": np.asarray(training.users)[training.user],
            "item_id": np.asarray(training.items)[training.item],
            "datetime": training.timestamp + 1,
            "weight": 1,
        }
    )
    log.to_csv(folder / "log.csv", index=False)
    (folder / "users.txt").write_text("\n".join(training.users))
    command = [python] if python else ["uv", "run", "--no-project", "--with", "rectools[torch]", "python"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    subprocess.run([*command, str(SIDE), str(folder), "--length", str(MAX_LENGTH), *words], env=environment, check=True)
    ranker, found = Ranker(problem, TIE_SEED), {}
    for path in folder.glob("scores-*.npz"):
        _, seed, epoch = path.stem.split("-")
        with np.load(path) as file:
            value = ranker.ndcg(Scores(problem, file["scores"], file["items"]))
            found.setdefault(int(seed), []).append((int(epoch), float(file["seconds"]), value))
    return {seed: sorted(checks) for seed, checks in sorted(found.items())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=80, help="of RecTools")
    parser.add_argument("--every", type=int, default=5, help="epochs between RecTools' checks")
    parser.add_argument("--most", type=int, default=40, help="of ours")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    problem = leave_one_out()
    ranker = Ranker(problem, TIE_SEED)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--seeds", asked.seeds, "--epochs", str(asked.epochs), "--every", str(asked.every)]
        theirs = rectools(problem, Path(folder), asked.python, words)
    targets = sum(min(len(s) - 1, MAX_LENGTH) for s in problem.training.sequences)
    rows, epochs, slots, best, quality = [], [], [], [], []
    for seed, checks in theirs.items():
        at, seconds, wanted = max(checks, key=lambda check: check[2])
        per_epoch = checks[-1][1] / checks[-1][0]
        ours, spent, reached, top = Ours(problem, seed), 0.0, float("nan"), 0.0
        for epoch in range(1, asked.most + 1):
            spent += ours.train(epoch).seconds
            value = ours.validate(ranker)
            top = max(top, value)
            if value >= wanted and np.isnan(reached):
                reached = spent
        rows.append([seed, f"{per_epoch:.2f}", at, f"{seconds:.1f}", f"{wanted:.4f}",
                     f"{spent / asked.most:.2f}", f"{reached:.1f}", f"{top:.4f}"])  # fmt: skip
        epochs.append(per_epoch / (spent / asked.most))
        slots.append(per_epoch / targets / (spent / asked.most / ours.targets))
        best.append(seconds / reached)
        quality.append(top / wanted)
    heads = [
        "seed",
        "RecTools s/epoch",
        "best epoch",
        "s to it",
        "nDCG@10",
        "ours s/epoch",
        "s to that",
        "best nDCG@10",
    ]
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))
    print(f"targets an epoch: RecTools {targets}, ours {ours.targets}")
    ratios = {"epoch": epochs, "target": slots, "quality": best, "best nDCG": quality}
    for name, values in ratios.items():
        print(f"ratio {name}: {np.median(values):.2f}")


if __name__ == "__main__":
    main()
