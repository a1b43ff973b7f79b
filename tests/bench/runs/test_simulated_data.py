"""Pocket checkpoints are for simulated data, whatever the name of the data set."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from bench import registry
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.dataset import DatasetPlugin
from protocols.errors import BenchError
from protocols.progress import Quiet


@dataclass(frozen=True)
class Simulator(DatasetPlugin):
    """A simulator of somebody else."""

    name: ClassVar[str] = "simulator"
    simulated: ClassVar[bool] = True
    dataset: ClassVar = None

    def load(self, cache, progress):
        return self.dataset


@pytest.fixture
def simulator(monkeypatch, simulate_dataset):
    """The simulator under its name, with real data in it."""
    honest = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Simulator if name == "simulator" else honest(kind, name))
    monkeypatch.setattr(Simulator, "dataset", simulate_dataset(seed=5))


@pytest.mark.parametrize(("dataset", "checkpoint"), [("demo", "pocket"), ("simulator", "pocket"), ("ml-100k", "hub")])
def test_the_plugin_decides_which_checkpoint_auto_is(simulator, dataset, checkpoint):
    found = row_specs.extractor_for("captions", {}, dataset).options()["checkpoint"]
    assert (found == "pocket") == (checkpoint == "pocket"), found


def test_clips_without_a_dataset_are_real(simulator):
    assert row_specs.extractor_for("captions", {}, "").options()["checkpoint"] != "pocket"


def test_a_plugin_that_contradicts_its_data_is_named(simulator, tmp_path):
    request = runs.Request([RowSpec("pop")], tmp_path / "cache", tmp_path / "results", "simulator")
    with pytest.raises(
        BenchError, match="dataset simulator is not simulated, and its plug-in says otherwise"
    ) as caught:
        runs.prepare(request, Quiet())
    assert "ClassVar[bool] = False` in Simulator" in caught.value.remedy
