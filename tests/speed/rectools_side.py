"""RecTools' half of `train_sasrec_rectools.py`: trains its SASRec in an environment of its own.

    python tests/speed/rectools_side.py FOLDER --seeds 1,2,3 --epochs 80 --every 5

It imports nothing of ours. FOLDER holds `log.csv` (user_id, item_id, datetime, weight) and `users.txt`. For every check
it writes `scores-SEED-EPOCH.npz`: scores [users, items], the names of the items and the CPU seconds of training so far.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from rectools.dataset import Dataset
from rectools.models import SASRecModel


def main() -> None:
    """Train and write scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--length", type=int, default=50)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    log = pd.read_csv(asked.folder / "log.csv", dtype={"user_id": str, "item_id": str})
    log["datetime"] = pd.to_datetime(log["datetime"], unit="s")
    users = (asked.folder / "users.txt").read_text().split()
    dataset = Dataset.construct(log)
    items = np.unique(log["item_id"].to_numpy(dtype=str))
    for seed in map(int, asked.seeds.split(",")):
        lightning.seed_everything(seed)
        model = SASRecModel(
            n_blocks=2, n_heads=2, n_factors=64, session_max_len=asked.length, dropout_rate=0.2, loss="softmax",
            lr=asked.lr, batch_size=asked.batch, recommend_torch_device="cpu",
        )  # fmt: skip
        spent = 0.0
        for epoch in range(asked.every, asked.epochs + 1, asked.every):
            start = time.process_time()
            model.fit_partial(dataset, min_epochs=asked.every, max_epochs=asked.every)
            spent += time.process_time() - start
            found = model.recommend(users, dataset, k=len(items), filter_viewed=False)
            table = found.pivot(index="user_id", columns="item_id", values="score").reindex(index=users, columns=items)
            scores = table.fillna(-np.inf).to_numpy(dtype=np.float32)  # it knows no item that no last 50 hold
            np.savez(asked.folder / f"scores-{seed}-{epoch}.npz", scores=scores, items=items, seconds=spent)
            print(f"seed {seed}, epoch {epoch}: {spent:.1f} CPU s", flush=True)


if __name__ == "__main__":
    main()
