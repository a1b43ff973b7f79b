"""Records logged to trackers."""

import importlib

import pytest
from click.testing import CliRunner

from bench import records, track
from bench.cli.run import run
from protocols.errors import UserError


@pytest.fixture
def paths(write_cell):
    more = {"metrics": {"ndcg@10": 0.25, "ndcg@10_cold": None}, "seconds": {"refit": 2.0}}
    return write_cell("sasrec", "captions", "gate", seeds=(1, 2), **more)


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_an_entry_holds_what_was_run_and_the_numbers_that_are_there(paths):
    entry = track.entry(paths[0], records.read(paths[0]))
    assert entry.name == "sasrec captions gate seed 1 fold 0"
    assert entry.parameters["model.dim"] == "8"
    assert entry.metrics == {"ndcg_at_10": 0.25, "seconds_refit": 2.0}


def test_mlflow_keeps_each_record_once_in_a_local_store(paths, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    for _ in range(2):
        store = track.log("mlflow", paths, tmp_path)
    client = mlflow.tracking.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(track.PROJECT)
    # the records of the two seeds have keys of their own
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == len(paths)
    first = next(run for run in found if run.info.run_name == "sasrec captions gate seed 1 fold 0")
    assert first.data.metrics["ndcg_at_10"] == 0.25
    assert first.data.params["extractor"] == "captions"
    assert client.list_artifacts(first.info.run_id)[0].path == paths[0].name


def test_a_tracker_that_is_not_there_is_said_before_anything_is_run(monkeypatch, tmp_path):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match="--track wandb: the package is not installed") as caught:
        track.require("wandb")
    assert "video-rec-bench[track]" in caught.value.remedy


def test_the_command_offers_every_tracker():
    offered = next(option for option in run.params if option.name == "track")
    assert set(offered.type.choices) == set(track.TRACKERS)
    assert "--track [mlflow|tensorboard|wandb]" in CliRunner().invoke(run, ["--help"]).output
