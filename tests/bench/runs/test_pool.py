"""Worker processes: one that dies, and what they tell of their epochs."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records
from bench.runs import pool
from bench.runs.context import Job, RunContext
from protocols.dataset import Dataset
from protocols.progress import Quiet
from protocols.splitting.presets import Rolling7d
from recommenders.base import FitRequest, FitResult, Recommender
from recommenders.pop import Pop


@dataclass(frozen=True)
class Deadly(Recommender):
    """Ends its process without a word, as a crash in native code does."""

    name = "deadly"
    trains_epochs = False

    def fit(self, request: FitRequest) -> FitResult:
        os._exit(11)


@dataclass(frozen=True)
class Telling(Pop):
    """Tells of an epoch."""

    name = "telling"

    def fit(self, request: FitRequest) -> FitResult:
        request.report(3, "ndcg@10 0.0771")
        return super().fit(request)


class Notes(Quiet):
    """Progress that keeps its notes."""

    def __init__(self):
        self.steps, self.notes = 0, []

    def advance(self, steps=1, note=""):
        self.steps += steps
        self.notes.append(note)


@pytest.fixture
def context(tmp_path):
    rng = np.random.default_rng(0)
    day = 86_400_000
    log = pd.DataFrame(
        {
            "user_id": [f"u{u}" for u in rng.integers(0, 30, 900)],
            "item_id": [f"i{i}" for i in rng.integers(0, 40, 900)],
            "timestamp": rng.integers(0, 70 * day, 900),
        }
    )
    dataset = Dataset.build("toy", "1", log, pd.DataFrame(index=[f"i{i}" for i in range(40)]))
    protocol = Rolling7d()
    folds = protocol.split(dataset)
    return RunContext(None, dataset, protocol, folds, "board", {}, tmp_path / "cache", tmp_path / "results")


def job(model, fold):
    cell = records.Cell("toy", "rolling-7d", model.name, "-", "-")
    return Job(cell, model, None, None, 0, fold, f"{model.name}{fold}", fold, f"search{fold}")


@pytest.fixture
def module(monkeypatch):
    """This module under the name by which the workers import it, to unpickle its classes."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", here + os.pathsep + os.environ.get("PYTHONPATH", ""))
    monkeypatch.syspath_prepend(here)
    import test_pool

    return test_pool


def test_epochs_of_workers_are_shown_with_their_metric(context, module):
    shown = Notes()
    pool.execute(context, [job(module.Telling(), fold) for fold in (0, 1)], 1, shown)
    wanted = {f"telling, seed 0, fold {fold}, refit: epoch 3, ndcg@10 0.0771" for fold in (0, 1)}
    assert wanted < set(shown.notes)
    assert shown.steps == 2


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX processes")
def test_a_dead_worker_costs_its_unit_and_nothing_else(context, module):
    jobs = [job(Pop(), 0), job(module.Deadly(), 1), job(Pop(), 2), job(Pop(), 3)]
    done = pool.execute(context, jobs, 2, Quiet())
    status = [records.read(done[u]).status for u in jobs]
    assert status == ["ok", "failed", "ok", "ok"]
    assert "process died" in records.read(done[jobs[1]]).error
    assert records.users(done[jobs[0]])["ndcg@10"].between(0, 1).all()
