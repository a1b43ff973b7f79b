"""Recommendation lists of RecTools' and implicit's models for exported folds, to be ranked by `bench import`.

    bench data export --format rectools --set protocol.folds=1 -o folds
    uv venv --python 3.11 peers && uv pip install -p peers 'rectools[torch]'
    peers/bin/python tests/peers/rectools_lists.py folds -o lists
    bench import lists/ease.csv --name rectools-ease --set protocol.folds=1

RecTools wants another numpy, hence an environment of its own; this script imports nothing of ours. `board.py` beside it
runs all of this and compares row by row. Written are LISTS/MODEL.csv, and LISTS/MODEL.seconds.csv: CPU seconds of
fitting and of recommending, on one thread. Linear models are given each pair of user and item once.

The number of epochs of the sequential models is that of the best nDCG@10 on fold-N-validation; they are then fitted
anew for fold-N-test. A user for whom a model returns nothing is given the most popular items: import wants a list.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender, TFIDFRecommender
from rectools.dataset import Dataset, Interactions
from rectools.models import EASEModel, ImplicitALSWrapperModel, ImplicitItemKNNWrapperModel, PureSVDModel, SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

FIELDS = ["user_id", "item_id", "weight", "datetime"]
TABLES = ("fit", "histories", "candidates", "targets")
DEPTH = 20
#: Epochs between checks of a sequential model.
EVERY = 5


def knn(kind: type) -> Callable[[argparse.Namespace, int], Any]:
    """Make the constructor of a neighbourhood model; an item is a neighbour of itself, hence one more."""
    return lambda asked, seed: ImplicitItemKNNWrapperModel(kind(K=asked.neighbours + 1, num_threads=1))


def als(asked: argparse.Namespace, seed: int) -> Any:
    """Make implicit's iALS; `alpha` is the weight of what was taken relative to what was not."""
    model = AlternatingLeastSquares(
        asked.factors, asked.regularization, asked.alpha, iterations=15, num_threads=1, random_state=seed
    )
    return ImplicitALSWrapperModel(model)


def ease(asked: argparse.Namespace, seed: int) -> Any:
    """Make EASE."""
    return EASEModel(asked.l2, recommend_n_threads=1)


def puresvd(asked: argparse.Namespace, seed: int) -> Any:
    """Make PureSVD."""
    return PureSVDModel(asked.components, recommend_n_threads=1)


LINEAR: dict[str, Callable[[argparse.Namespace, int], Any]] = {
    "ease": ease,
    "puresvd": puresvd,
    "itemknn": knn(CosineRecommender),
    "itemknn-tfidf": knn(TFIDFRecommender),
    "ials": als,
}
SEQUENTIAL: dict[str, dict[str, Any]] = {
    "sasrec": {"loss": "softmax"},
    "esasrec": {"loss": "sampled_softmax", "n_negatives": 256, "transformer_layers_type": LiGRLayers},
}
SEEDED = {"ials", *SEQUENTIAL}


class Fold:
    """Tables of one exported folder.

    Attributes
    ----------
    fitted, known
        What is fitted, and the same with the events of histories that are not.
    users
        To recommend to.
    candidates
        Items with fitted events that may be recommended.
    """

    def __init__(self, folder: Path, binary: bool) -> None:
        tables = {what: pd.read_csv(folder / f"{what}.csv", dtype=str) for what in TABLES}
        fit, histories, self.targets = tables["fit"], tables["histories"], tables["targets"]
        fit = fit.assign(weight=1.0, datetime=pd.to_datetime(fit["datetime"]))
        if binary:
            fit = fit.drop_duplicates(["user_id", "item_id"], keep="last")
        later = fit["datetime"].max() + pd.to_timedelta(1 + histories["position"].astype(int), unit="s")
        histories = histories.assign(weight=1.0, datetime=later)[~pairs(histories).isin(pairs(fit))]
        self.users = tables["histories"]["user_id"].unique()
        self.seen = set(pairs(pd.concat([fit, histories])))
        self.fitted = Dataset.construct(fit)
        maps = self.fitted.user_id_map, self.fitted.item_id_map
        warm = histories[histories["item_id"].isin(fit["item_id"]) & histories["user_id"].isin(fit["user_id"])]
        self.known = Dataset(*maps, Interactions.from_raw(pd.concat([fit, warm])[FIELDS], *maps))
        counts = fit["item_id"].value_counts()
        self.candidates = np.intersect1d(tables["candidates"]["item_id"], counts.index)
        self.popular = counts.index[counts.index.isin(self.candidates)]

    def recommend(self, model: Any) -> tuple[pd.DataFrame, float]:
        """Make lists [user_id, item_id, rank] of at most 20 items for every user, and count the CPU seconds."""
        start = time.process_time()
        found = model.recommend(
            self.users, self.known, DEPTH, filter_viewed=True, items_to_recommend=self.candidates,
            on_unsupported_targets="ignore",
        )  # fmt: skip
        seconds = time.process_time() - start
        missing = np.setdiff1d(self.users, found["user_id"])
        if len(missing):
            print(f"  {len(missing)} of {len(self.users)} users have no list: they are given popular items")
        lists = pd.concat([found[["user_id", "item_id", "rank"]], *map(self._popular, missing)], ignore_index=True)
        return lists, seconds

    def _popular(self, user: str) -> pd.DataFrame:
        free = [item for item in self.popular[: 10 * DEPTH] if (user, item) not in self.seen][:DEPTH]
        return pd.DataFrame({"user_id": user, "item_id": free, "rank": range(1, len(free) + 1)})

    def ndcg(self, lists: pd.DataFrame) -> float:
        """Compute the mean nDCG@10 of lists."""
        first = lists[lists["rank"] <= 10]
        hit = first[pairs(first).isin(pairs(self.targets))]
        gain = (1 / np.log2(hit["rank"] + 1)).groupby(hit["user_id"]).sum()
        count = self.targets.groupby("user_id").size().clip(upper=10)
        ideal = np.cumsum(1 / np.log2(np.arange(2, 12)))[count - 1]
        return float((gain.reindex(count.index).fillna(0) / ideal).mean())


def pairs(table: pd.DataFrame) -> pd.MultiIndex:
    """Index a table by user and item."""
    return pd.MultiIndex.from_frame(table[["user_id", "item_id"]])


def linear(name: str, asked: argparse.Namespace, folder: Path, fold: int, seed: int) -> tuple[pd.DataFrame, dict]:
    """Fit a model without epochs, and make its lists."""
    test = Fold(folder / f"fold-{fold}-test", binary=True)
    model, start = LINEAR[name](asked, seed), time.process_time()
    model.fit(test.fitted)
    spent = time.process_time() - start
    lists, recommending = test.recommend(model)
    return lists, {"fit": spent, "recommend": recommending}


def sequential(name: str, asked: argparse.Namespace, folder: Path, fold: int, seed: int) -> tuple[pd.DataFrame, dict]:
    """Choose the number of epochs, fit anew and make the lists."""

    def train(part: Fold, epochs: int, check: Callable[[Any, int], bool] | None = None) -> tuple[Any, float]:
        lightning.seed_everything(seed)
        model = SASRecModel(
            n_blocks=asked.blocks, n_heads=2, n_factors=asked.dim, session_max_len=asked.length, lr=asked.lr,
            dropout_rate=asked.dropout, batch_size=asked.batch, recommend_torch_device="cpu", **SEQUENTIAL[name],
        )  # fmt: skip
        spent = 0.0
        for epoch in range(EVERY, epochs + 1, EVERY):
            start = time.process_time()
            model.fit_partial(part.fitted, min_epochs=EVERY, max_epochs=EVERY)
            spent += time.process_time() - start
            if check and check(model, epoch):
                break
        return model, spent

    validation = Fold(folder / f"fold-{fold}-validation", binary=False)
    curve: dict[int, float] = {}

    def done(model: Any, epoch: int) -> bool:
        curve[epoch] = validation.ndcg(validation.recommend(model)[0])
        print(f"  epoch {epoch}: validation nDCG@10 {curve[epoch]:.4f}", flush=True)
        return epoch - max(curve, key=curve.__getitem__) >= EVERY * asked.patience

    _, searching = train(validation, asked.epochs, done)
    best = max(curve, key=curve.__getitem__)
    test = Fold(folder / f"fold-{fold}-test", binary=False)
    model, spent = train(test, best)
    lists, recommending = test.recommend(model)
    return lists, {"search": searching, "fit": spent, "recommend": recommending, "epochs": best}


def main() -> None:
    """Fit all models and write lists and seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what `bench data export --format rectools` wrote")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join([*LINEAR, *SEQUENTIAL]))
    parser.add_argument("--seeds", default="1,2,3", help="of iALS and the sequential models")
    for option, default in {"l2": 500.0, "neighbours": 200, "components": 16}.items():
        parser.add_argument(f"--{option}", type=type(default), default=default)
    for option, default in {"factors": 64, "regularization": 0.01, "alpha": 20.0}.items():
        parser.add_argument(f"--{option}", type=type(default), default=default, help="of iALS")
    numbers = {"blocks": 2, "dim": 64, "length": 50, "lr": 1e-3, "dropout": 0.2, "batch": 128, "epochs": 100}
    numbers["patience"] = 3
    for option, default in numbers.items():
        parser.add_argument(f"--{option}", type=type(default), default=default, help="of the sequential models")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    asked.out.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((asked.folder / "manifest.json").read_text())
    folds = [int(e["folder"].split("-")[1]) for e in manifest["folds"] if e["folder"].endswith("-test")]
    for name in asked.models.split(","):
        seeds = [int(seed) for seed in asked.seeds.split(",")] if name in SEEDED else [0]
        found, spent = [], []
        for fold in folds:
            for seed in seeds:
                lists, seconds = (linear if name in LINEAR else sequential)(name, asked, asked.folder, fold, seed)
                found.append(lists.assign(fold=fold, seed=seed))
                spent.append({"model": name, "fold": fold, "seed": seed, **seconds})
                print({key: round(v, 2) if isinstance(v, float) else v for key, v in spent[-1].items()}, flush=True)
        pd.concat(found).to_csv(asked.out / f"{name}.csv", index=False)
        pd.DataFrame(spent).to_csv(asked.out / f"{name}.seconds.csv", index=False)


if __name__ == "__main__":
    main()
