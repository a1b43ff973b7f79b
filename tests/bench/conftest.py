"""Synthetic records, so that boards can be tested without training anything."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from bench import records, registry
from protocols.dataset import DatasetPlugin


@dataclass(frozen=True)
class Tiny(DatasetPlugin):
    """A dataset plug-in whose small log is made by a test."""

    name: ClassVar[str] = "tiny"
    dataset: ClassVar = None

    def load(self, cache, progress):
        return self.dataset


@pytest.fixture(scope="module")
def tiny_world(simulate_dataset):
    """The dataset plug-in `tiny` under its name."""
    with pytest.MonkeyPatch.context() as patch:
        honest = registry.load
        patch.setattr(registry, "load", lambda kind, name: Tiny if name == "tiny" else honest(kind, name))
        patch.setattr(Tiny, "dataset", simulate_dataset(seed=5, releases=True))
        yield


@pytest.fixture
def write_cell(tmp_path):
    """A function that writes one cell's records and returns their paths; `lift` is added to every user's values."""

    def write(model, extractor, fusion, *, seeds=(1,), folds=2, users=200, lift=0.0, board="b", **more):
        cell = records.Cell("toy", "rolling-7d", model, extractor, fusion, {"model": {"dim": 8}})
        paths = []
        for seed in seeds:
            for fold in range(folds):
                base = np.random.default_rng([7, fold]).uniform(0.1, 0.6, users)  # the same users for every cell
                noise = np.random.default_rng([seed, fold, len(extractor)]).normal(0, 0.02, users)
                value = np.clip(base + lift + noise, 0, 1)
                frame = pd.DataFrame({"user_id": [f"u{i}" for i in range(users)], "hr@10": value, "ndcg@10": value})
                frame["ndcg@10_warm"], frame["ndcg@10_cold"] = value, np.nan
                record = records.Record(
                    cell=asdict(cell),
                    key=f"k{seed}{fold}",
                    seed=seed,
                    fold=fold,
                    board=board,
                    fold_info={"folds": folds, "users": users, "targets_per_user_mean": 2.0},
                    audit=[{"check": "parameters", "ok": True, "detail": ""}],
                    **more,
                )
                paths.append(records.write(tmp_path / cell.folder, record, frame))
        return paths

    return write
