"""A refit is taken from a search that fits the same, and is trained where there is none."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from bench import records, registry
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.rows import RowSpec
from protocols.dataset import DatasetPlugin
from protocols.progress import Quiet
from recommenders.training import loop

OPTIONS = {"dim": 8, "inner": 8, "batch": 64, "max_epochs": 4, "patience": 2}


@dataclass(frozen=True)
class Tiny(DatasetPlugin):
    name: ClassVar[str] = "tiny"
    dataset: ClassVar = None

    def load(self, cache, progress):
        return self.dataset


@pytest.fixture
def prepare(simulate_dataset, monkeypatch, tmp_path):
    """A function that prepares a run of SASRec on a small log, in folders of its own."""
    honest = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Tiny if name == "tiny" else honest(kind, name))
    monkeypatch.setattr(Tiny, "dataset", simulate_dataset(seed=5, releases=True))

    def made(folder, name="rolling-7d", **protocol):
        request = runs.Request(
            rows=[RowSpec("sasrec", "random", "gate")],
            cache=tmp_path / folder / "cache",
            results=tmp_path / folder / "results",
            dataset="tiny",
            protocol=name,
            options={"sasrec": OPTIONS, name: protocol},
        )
        return runs.prepare(request, Quiet())

    return made


@pytest.fixture
def epochs_trained(monkeypatch):
    """Counts the epochs that are trained."""
    counted = []
    honest = loop.Fit.train_to

    def counting(self, mark):
        counted.append(self.epoch)
        honest(self, mark)

    monkeypatch.setattr(loop.Fit, "train_to", counting)
    return counted


def compute(context, jobs):
    found = {}
    for job in jobs:
        record = records.read(worker.compute(context, job))
        assert record.status == "ok", record.error
        found[job.fold] = record
    return found


def test_refits_from_searches_are_those_that_would_be_trained(prepare, epochs_trained):
    context, jobs = prepare("one")
    taken = compute(context, sorted(jobs, key=lambda job: -job.fold))  # as a run orders them
    saved = len(epochs_trained)
    context, jobs = prepare("two")
    trained = compute(context, jobs)  # no search is ahead
    for fold, record in trained.items():
        assert taken[fold].metrics == record.metrics
        assert taken[fold].training == record.training
    assert len(jobs) >= 3
    expected = sum(len(r.training[f"{kind}_curve"]) for r in trained.values() for kind in ("search", "refit"))
    assert len(epochs_trained) - saved == expected
    on_the_way = [
        len(record.training["refit_curve"])
        for fold, record in trained.items()
        if fold + 1 in trained
        and record.training["epochs"] in [note["epoch"] for note in trained[fold + 1].training["search_curve"]]
    ]
    assert on_the_way
    assert saved == expected - sum(on_the_way)


def test_without_a_refit_nothing_is_trained_twice(prepare, epochs_trained):
    context, jobs = prepare("one", "microlens-loo")
    (taken,) = compute(context, jobs).values()
    assert len(epochs_trained) == len(taken.training["search_curve"])
    context.remove_snapshots(jobs)
    context, jobs = prepare("two", "microlens-loo")
    (trained,) = compute(context, [replace(job, fitted_by="") for job in jobs]).values()
    assert len(epochs_trained) == 2 * len(taken.training["search_curve"]) + len(taken.training["refit_curve"])
    assert taken.metrics == trained.metrics
    assert taken.training == trained.training


def test_snapshots_of_searches_are_removed(prepare):
    context, jobs = prepare("one")
    compute(context, jobs)
    left = context.cache / "checkpoints"
    assert list(left.glob("*.snapshots"))
    context.remove_snapshots(jobs)
    assert not list(left.glob("*.snapshots"))


@pytest.mark.parametrize(
    ("knobs", "ahead"),
    [({}, True), ({"gap": "1d"}, False), ({"epochs_from": "earliest"}, False), ({"validation_window": "3d"}, False)],
)
def test_a_search_is_ahead_only_where_it_fits_the_same_rows(prepare, knobs, ahead):
    context, jobs = prepare("one", **knobs)
    assert [bool(job.fitted_by) for job in jobs] == [ahead] * (len(context.folds) - 1) + [False]
