"""A refit is taken from a search that fits the same, and is trained where there is none."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from bench import registry
from bench.boards import records
from bench.runs import run as runs
from bench.runs import worker
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
            rows=[runs.Row("sasrec", "random", "gate")],
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
    honest = loop.Fit.train_epoch

    def counting(self, batches):
        counted.append(self.epoch)
        honest(self, batches)

    monkeypatch.setattr(loop.Fit, "train_epoch", counting)
    return counted


def compute(shared, units):
    found = {}
    for unit in units:
        record = records.read(worker.compute(shared, unit))
        assert record.status == "ok", record.error
        found[unit.fold] = record
    return found


def test_refits_from_searches_are_those_that_would_be_trained(prepare, epochs_trained):
    shared, units = prepare("one")
    taken = compute(shared, sorted(units, key=lambda unit: -unit.fold))  # as a run orders them
    saved = len(epochs_trained)
    shared, units = prepare("two")
    trained = compute(shared, units)  # no search is ahead
    for fold, record in trained.items():
        assert taken[fold].metrics == record.metrics
        assert taken[fold].training == record.training
    assert len(units) >= 3
    expected = sum(len(r.training["search_curve"]) + r.training["epochs"] for r in trained.values())
    assert len(epochs_trained) - saved == expected
    on_the_way = [
        record.training["epochs"]
        for fold, record in trained.items()
        if fold + 1 in trained and record.training["epochs"] <= len(trained[fold + 1].training["search_curve"])
    ]
    assert on_the_way
    assert saved == expected - sum(on_the_way)


def test_without_a_refit_nothing_is_trained_twice(prepare, epochs_trained):
    shared, units = prepare("one", "microlens-loo")
    (taken,) = compute(shared, units).values()
    assert len(epochs_trained) == len(taken.training["search_curve"])
    worker.sweep(shared, units)
    shared, units = prepare("two", "microlens-loo")
    (trained,) = compute(shared, [replace(unit, fitted_by="") for unit in units]).values()
    assert len(epochs_trained) == 2 * len(taken.training["search_curve"]) + taken.training["epochs"]
    assert taken.metrics == trained.metrics
    assert taken.training == trained.training


def test_what_searches_left_is_swept(prepare):
    shared, units = prepare("one")
    compute(shared, units)
    left = shared.cache / "checkpoints"
    assert list(left.glob("*.trail"))
    worker.sweep(shared, units)
    assert not list(left.glob("*.trail"))


@pytest.mark.parametrize(
    ("knobs", "ahead"),
    [({}, True), ({"gap": "1d"}, False), ({"epochs_from": "earliest"}, False), ({"validation_window": "3d"}, False)],
)
def test_a_search_is_ahead_only_where_it_fits_the_same_rows(prepare, knobs, ahead):
    shared, units = prepare("one", **knobs)
    assert [bool(unit.fitted_by) for unit in units] == [ahead] * (len(shared.folds) - 1) + [False]
