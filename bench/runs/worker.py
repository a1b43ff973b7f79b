"""One unit of work (a cell x seed x fold) from fit to record, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from filelock import FileLock

from bench.boards import records
from feature_extractors.base import Extractor
from feature_extractors.store import diagnostics
from protocols.atomic_write import write_atomically
from protocols.audit import leak_audit
from protocols.dataset import Dataset, DatasetPlugin
from protocols.errors import BenchError
from protocols.evaluation import fold_metrics, metrics, ranking, slices
from protocols.features import Features, ItemFeatures
from protocols.ranking_problem import Fold, Problem, Scorer
from protocols.splitting.base import ProtocolPlugin
from recommenders.base import FitRequest, FitResult, Recommender
from recommenders.encoder.fusions import Fusion

# Equal scores break by this seeded hash of the raw item id, for every model and every run alike.
TIE_SEED = 0


@dataclass(frozen=True, eq=False)
class Shared:
    """What all units of a run have in common; sent once to each worker process."""

    plugin: DatasetPlugin
    dataset: Dataset
    protocol: ProtocolPlugin
    folds: list[Fold]
    board: str
    features: dict[tuple[str, int | None], Features]
    cache: Path
    results: Path
    device: str = "cpu"
    threads: int = 1
    passed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Unit:
    """A cell x seed x fold to compute, and on which fold's validation window its number of epochs is chosen.

    `fitted_by` is the key of the search that fits what this unit refits, see `bench.runs.run.fitting_search`; "": none.
    `tuning` says how the options of the model were chosen, for the record.
    """

    cell: records.Cell
    model: Recommender
    extractor: Extractor | None
    features: tuple[str, int | None] | None
    seed: int
    fold: int
    key: str
    search_fold: int
    search_key: str
    fitted_by: str = ""
    tuning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """File name of its record, without ending."""
        return f"s{self.seed}-f{self.fold}-{self.key}"


_shared: Shared | None = None


def start(shared: Shared) -> None:
    """Prepare a worker process: quiet on Ctrl-C (the parent handles it), gone when the parent is gone."""
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()


def _follow_parent(parent: int) -> None:
    # A killed parent leaves its pool workers waiting for ever: they hold both ends of the queue.
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def prepared() -> Shared:
    """What `start` was given in this process."""
    assert _shared is not None, "call start(shared) first"
    return _shared


def work(unit: Unit) -> Path:
    """Compute one unit in a process that `start` has prepared; returns the record's path."""
    return compute(prepared(), unit)


def compute(shared: Shared, unit: Unit) -> Path:
    """Compute one unit, or take it over from another process that has just finished it.

    Errors become a record with status `failed`; only what ends the process is raised.

    Returns
    -------
    Path
        Of the record's JSON.
    """
    if unit.model.trains_epochs:  # popularity needs no torch, which takes seconds to import
        import torch

        torch.set_num_threads(shared.threads)
    folder = shared.results / unit.cell.folder
    path = folder / f"{unit.stem}.json"
    scratch = shared.cache / "checkpoints" / unit.key
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{scratch}.lock"):
        if path.exists() and records.read(path).status == "ok":
            return path
        record = new_record(shared, unit)
        users = None
        try:
            users = _evaluate(shared, unit, record, scratch)
        except Exception as error:
            record.status, record.error = "failed", f"{type(error).__name__}: {error}"
            if not isinstance(error, BenchError):
                record.error += "\n" + traceback.format_exc(limit=8)
        record.peak_memory_mb = peak_memory_mb()
        written = records.write(folder, record, users)
        if record.status == "ok":
            shutil.rmtree(scratch, ignore_errors=True)
        return written


def new_record(shared: Shared, unit: Unit) -> records.Record:
    """Start the record of a unit with all that is known before it is computed."""
    return records.Record(
        cell=asdict(unit.cell),
        key=unit.key,
        seed=unit.seed,
        fold=unit.fold,
        board=shared.board,
        simulated=shared.dataset.simulated,
        passed=shared.passed,
        tuning=dict(unit.tuning),
        dataset=describe(shared.dataset),
        fold_info={
            **shared.folds[unit.fold].info,
            "folds": len(shared.folds),
            "fingerprint": shared.folds[unit.fold].fingerprint,
        },
        device=shared.device,
        environment={**records.environment(), "threads": shared.threads},
        metrics_version=metrics.VERSION,
    )


def _evaluate(shared: Shared, unit: Unit, record: records.Record, scratch: Path) -> pd.DataFrame:
    """Search, refit, rank: fills the record and returns the per-user frame."""
    cpu, clock = time.process_time(), time.perf_counter()
    search = _search(shared, unit) if unit.model.trains_epochs else {}
    record.seconds["search"] = time.perf_counter() - clock

    clock = time.perf_counter()
    problem, features, verdicts = _problem(shared, unit, shared.folds[unit.fold], "test")
    record.audit = [*search.get("audit", []), *verdicts]
    fits = trail(shared, unit.fitted_by) if unit.fitted_by else None
    fitted = fit(
        shared, unit, problem, features, scratch / "refit",
        epochs=search.get("epochs"), trail=fits, weights=weights(shared, unit),
    )  # fmt: skip
    record.seconds["refit"] = time.perf_counter() - clock

    clock = time.perf_counter()
    ranked = ranking.rank_users(fitted.scorer, problem, TIE_SEED)
    users = fold_metrics.user_metrics(ranked)
    means = {**fold_metrics.means(users), **fold_metrics.board_metrics(ranked, problem)}
    record.metrics = {name: None if np.isnan(value) else value for name, value in means.items()}
    record.seconds["rank"] = time.perf_counter() - clock
    record.seconds["cpu"] = time.process_time() - cpu

    record.training = {
        "epochs": fitted.epochs,
        "epochs_chosen_on": search.get("chosen_on"),
        "parameters": fitted.parameters,
        "search_curve": search.get("curve", []),
        "refit_curve": fitted.curve,
        "layer_weights": fitted.layer_weights,
    }
    record.features = _describe_features(shared, unit, features)
    return slices.with_targets(
        fold_metrics.with_topk(users, ranked), ranked, problem, shared.dataset.items.get("duration")
    )


def _search(shared: Shared, unit: Unit) -> dict[str, Any]:
    """Choose the number of epochs by early stopping on a validation window, once for all units that share it."""
    path = shared.results / unit.cell.folder / f"search-{unit.search_key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        fold = shared.folds[unit.search_fold]
        problem, features, verdicts = _problem(shared, unit, fold, "validation")
        scratch = shared.cache / "checkpoints" / unit.search_key
        found = choose_epochs(shared, unit, problem, features, scratch, trail(shared, unit.search_key))
        content = {
            "epochs": found.epochs,
            "chosen_on": f"validation window of fold {fold.index}",
            "curve": found.curve,
            "audit": verdicts,
        }
        write_atomically(path, json.dumps(content, default=str))
        shutil.rmtree(scratch, ignore_errors=True)
        return content


def choose_epochs(
    shared: Shared,
    unit: Unit,
    problem: Problem,
    features: ItemFeatures | None,
    scratch: Path,
    trail: Path | None = None,
) -> FitResult:
    """Fit on a validation problem until its nDCG@10 no longer grows: `epochs` of the result is what to refit for."""
    validate = ranking.Ranker(problem, TIE_SEED).ndcg
    return fit(shared, unit, problem, features, scratch, validate=validate, trail=trail)


def trail(shared: Shared, search_key: str) -> Path:
    """Where a search leaves its parameters epoch by epoch for the refit that it fits; see `sweep`."""
    return shared.cache / "checkpoints" / f"{search_key}.trail"


def weights(shared: Shared, unit: Unit) -> Path:
    """Where the trained parameters of a unit are kept."""
    return shared.cache / "models" / f"{unit.key}.safetensors"


def sweep(shared: Shared, units: Iterable[Unit]) -> None:
    """Remove what the searches of a run have left; another run that is looking for it trains instead."""
    for key in {key for unit in units for key in (unit.search_key, unit.fitted_by) if key}:
        shutil.rmtree(trail(shared, key), ignore_errors=True)


def _problem(
    shared: Shared, unit: Unit, fold: Fold, stage: Literal["validation", "test"]
) -> tuple[Problem, ItemFeatures | None, list[dict[str, Any]]]:
    """One of a fold's two problems, the features aligned to it, and the audit before anything is learned from it."""
    problem = shared.protocol.problem(shared.dataset, fold, stage)
    features = aligned(shared, unit, problem)
    searched = shared.folds[unit.search_fold] if unit.model.trains_epochs else None
    verdicts = leak_audit.audit(shared.dataset, fold, problem, stage, features, searched)
    return problem, features, [{"fold": fold.index, "stage": stage, **verdict} for verdict in verdicts]


def aligned(shared: Shared, unit: Unit, problem: Problem) -> ItemFeatures | None:
    """Features of a problem's items, standardised by what its warm items are like; None for a unit without."""
    if unit.features is None:
        return None
    extracted = shared.features[unit.features]
    fusion = Fusion.parse(unit.cell.fusion)
    if fusion.layer is not None:
        extracted = extracted.layer(fusion.layer, fusion.chosen_readout(extracted.space.readouts))
    elif fusion.layers in ("softmax", "uniform"):
        extracted = extracted.select_readout(fusion.chosen_readout(extracted.space.readouts))
    features = extracted.align(list(problem.training.items), problem.training.warm)
    return features.standardised(unit.model.standardise, problem.training.warm)


def fit(
    shared: Shared,
    unit: Unit,
    problem: Problem,
    features: ItemFeatures | None,
    scratch: Path | None,
    validate: Callable[[Scorer], float] | None = None,
    epochs: int | None = None,
    trail: Path | None = None,
    weights: Path | None = None,
    reuse: bool = False,
) -> FitResult:
    """Fit a unit's model on one problem; see `FitRequest`."""
    if features is not None and unit.extractor is not None:
        features = unit.extractor.on_items(features, unit.seed)
    end = shared.folds[unit.fold].end
    return unit.model.fit(
        FitRequest(
            data=problem.training,
            features=features,
            fusion="id" if unit.cell.fusion == "-" else unit.cell.fusion,
            seed=unit.seed,
            validate=validate,
            epochs=epochs,
            checkpoint=scratch,
            snapshots=trail,
            weights=weights,
            reuse=reuse,
            device=shared.device,
            oracle=partial(shared.plugin.oracle, shared.dataset, end=end) if shared.dataset.simulated else None,
        )
    )


def _describe_features(shared: Shared, unit: Unit, aligned: ItemFeatures | None) -> dict[str, Any]:
    if aligned is None or unit.features is None:
        return {}
    features = shared.features[unit.features]
    status, count = np.unique(features.status.astype(str), return_counts=True)
    return {
        "space": features.space.id,
        "digest": features.digest,
        "control": _control(unit.extractor),
        "config": dict(features.space.config),
        "provenance": dict(features.space.provenance),
        "shape": list(features.values.shape[1:]),
        "coverage": aligned.coverage,
        "status": {str(s): int(c) for s, c in zip(status, count, strict=True)},
        "bytes_per_item": int(features.values[:1].nbytes),
        "seconds_per_item": float(np.mean(features.seconds)) if len(features.seconds) else 0.0,
        "degenerate": diagnostics.verdict(features),
    }


def _control(extractor: Extractor | None) -> str:
    """Names of what is wrapped around the extractor that makes the features; empty where nothing is."""
    names = []
    while extractor is not None and extractor.wraps:
        names.append(extractor.name)
        extractor = getattr(extractor, extractor.wraps)
    return ":".join(names)


def describe(dataset: Dataset) -> dict[str, Any]:
    """What a record says of its dataset."""
    log = dataset.interactions
    return {
        "name": dataset.name,
        "version": dataset.version,
        "fingerprint": dataset.fingerprint,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "users": int(log["user_id"].nunique()),
        "items": len(dataset.items),
        "interactions": len(log),
        "duplicates_dropped": dataset.duplicates,
    }


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
