"""Logging of records to experiment trackers, which are optional packages (`video-rec-bench[track]`)."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import records
from protocols.errors import UserError

PROJECT = "video-rec-bench"


@dataclass(frozen=True)
class Entry:
    """Entry of one record in a tracker.

    Attributes
    ----------
    name
        Cell, seed and fold.
    path
        The record's file.
    parameters
        Options of the run, as short texts.
    metrics
        Numbers that are there, by names that every tracker takes: `ndcg_at_10`.
    """

    name: str
    path: Path
    parameters: dict[str, str]
    metrics: dict[str, float]


def entry(path: Path, record: records.Record) -> Entry:
    """Make the entry of a record."""
    cell = records.Cell(**record.cell)
    parameters = {
        **{name: getattr(cell, name) for name in ("dataset", "protocol", "model", "extractor", "fusion")},
        "seed": str(record.seed),
        "fold": str(record.fold),
        "board": record.board,
        "key": record.key,
        "status": record.status,
        "simulated": str(record.simulated),
        "cell": cell.id,
        "commit": str(record.environment.get("commit")),
        "checkpoints": records.checkpoints(record),
    }
    parameters |= {f"model.{name}": str(value) for name, value in cell.options.get("model", {}).items()}
    numbers: dict[str, float | None] = {name.replace("@", "_at_"): value for name, value in record.metrics.items()}
    numbers |= {f"seconds_{stage}": value for stage, value in record.seconds.items()}
    numbers |= {"peak_memory_mb": record.peak_memory_mb or None, "parameters": record.training.get("parameters")}
    known = {name: float(value) for name, value in numbers.items() if value is not None and math.isfinite(value)}
    name = f"{cell.label} seed {record.seed} fold {record.fold}"
    return Entry(name, path, {key: value[:250] for key, value in parameters.items() if value}, known)


def log(tracker: str, paths: Iterable[Path], folder: Path) -> str:
    """Log records to a tracker, one run each.

    A record that the tracker has is logged again only by trackers that cannot be asked (all but MLflow).

    Parameters
    ----------
    tracker
        One of `TRACKERS`.
    paths
        Of records.
    folder
        Results folder; trackers without a server of their own keep their files in it.

    Returns
    -------
    str
        Name of the place, for people.

    Raises
    ------
    UserError
        If the tracker's package is not installed.
    """
    return TRACKERS[tracker]([entry(path, records.read(path)) for path in paths], folder)


def require(tracker: str) -> Any:
    """Import a tracker's package: called before a run, so that hours of training do not end in an error.

    Raises
    ------
    UserError
        If it is not installed.
    """
    module = {"tensorboard": "torch.utils.tensorboard"}.get(tracker, tracker)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"--track {tracker}: the package is not installed ({error})",
            remedy=f"uv pip install 'video-rec-bench[track]', or uv pip install {tracker}",
        ) from error


def _mlflow(entries: list[Entry], folder: Path) -> str:
    mlflow = require("mlflow")
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow.tracking.MlflowClient(tracking_uri=store)
    found = client.get_experiment_by_name(PROJECT)
    artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder / "mlartifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment(PROJECT, artifact_location=artifacts)
    for one in entries:
        known = client.search_runs([experiment], f"params.key = '{one.parameters['key']}'", max_results=1)
        if known and known[0].info.status == "FINISHED":
            continue
        run = client.create_run(experiment, run_name=one.name).info.run_id
        for name, value in one.parameters.items():
            client.log_param(run, name, value)
        for name, number in one.metrics.items():
            client.log_metric(run, name, number)
        client.log_artifact(run, str(one.path))
        client.set_terminated(run, "FINISHED")
    return store


def _tensorboard(entries: list[Entry], folder: Path) -> str:
    writer_of: Callable[..., Any] = require("tensorboard").SummaryWriter
    place = folder / "tensorboard"
    for one in entries:
        with writer_of(log_dir=str(place / one.path.parent.name / one.path.stem)) as writer:
            writer.add_hparams(one.parameters, one.metrics, run_name=".")
            writer.add_text("record", one.path.name)
    return str(place)


def _wandb(entries: list[Entry], folder: Path) -> str:
    wandb = require("wandb")
    for one in entries:
        run = wandb.init(
            project=PROJECT,
            name=one.name,
            id=one.parameters["key"],
            dir=str(folder),
            config=one.parameters,
            reinit=True,
        )
        run.log(one.metrics)
        run.save(str(one.path), policy="now")
        run.finish()
    return f"wandb project {PROJECT}"


TRACKERS: dict[str, Callable[[list[Entry], Path], str]] = {
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
