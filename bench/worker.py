"""One unit of work (a cell x seed x fold) from fit to record, in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from bench import records
from feature_extractors.base import Extractor
from protocols import audit, metrics, ranking
from protocols.dataset import Dataset, DatasetPlugin
from protocols.errors import BenchError
from protocols.features import Features, ItemFeatures
from protocols.presets import ProtocolPlugin
from protocols.problem import Fold, Problem, Scorer
from recommenders.base import FitRequest, FitResult, Recommender

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
    """A cell x seed x fold to compute."""

    cell: records.Cell
    model: Recommender
    extractor: Extractor | None
    features: tuple[str, int | None] | None
    seed: int
    fold: int
    key: str

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


def work(unit: Unit) -> Path:
    """Compute one unit in a process that `start` has prepared; returns the record's path."""
    assert _shared is not None, "call start(shared) first"
    return compute(_shared, unit)


def compute(shared: Shared, unit: Unit) -> Path:
    """Compute one unit, or take it over from another process that has just finished it.

    Errors become a record with status `failed`; only what ends the process is raised.

    Returns
    -------
    Path
        Of the record's JSON.
    """
    import torch

    torch.set_num_threads(shared.threads)
    folder = shared.results / unit.cell.folder
    path = folder / f"{unit.stem}.json"
    scratch = shared.cache / "checkpoints" / unit.key
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{scratch}.lock"):
        if path.exists() and records.read(path).status == "ok":
            return path
        record = records.Record(
            cell=asdict(unit.cell),
            key=unit.key,
            seed=unit.seed,
            fold=unit.fold,
            board=shared.board,
            simulated=shared.dataset.simulated,
            passed=shared.passed,
            dataset=describe(shared.dataset),
            fold_info={**shared.folds[unit.fold].info, "folds": len(shared.folds)},
            device=shared.device,
            environment={**records.environment(), "threads": shared.threads},
        )
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


def _evaluate(shared: Shared, unit: Unit, record: records.Record, scratch: Path) -> Any:
    """Search, refit, rank: fills the record and returns the per-user frame."""
    fold = shared.folds[unit.fold]
    cpu, clock = time.process_time(), time.perf_counter()
    epochs, curve, chosen_on = None, [], None
    if unit.model.trains_epochs:
        validation = shared.protocol.problem(shared.dataset, fold, "validation")
        found = _fit(shared, unit, validation, scratch / "search", validate=validation)
        epochs, curve, chosen_on = found.epochs, found.curve, fold.info.get("validation")
    record.seconds["search"] = time.perf_counter() - clock

    clock = time.perf_counter()
    problem = shared.protocol.problem(shared.dataset, fold, "test")
    record.audit = audit.audit(shared.dataset, fold, problem)
    fitted = _fit(shared, unit, problem, scratch / "refit", epochs=epochs)
    record.seconds["refit"] = time.perf_counter() - clock

    clock = time.perf_counter()
    ranked = ranking.rank_users(fitted.scorer, problem, TIE_SEED)
    users = metrics.user_metrics(ranked)
    record.metrics = {**metrics.means(users), **metrics.board_metrics(ranked, problem)}
    record.seconds["rank"] = time.perf_counter() - clock
    record.seconds["cpu"] = time.process_time() - cpu

    record.training = {
        "epochs": fitted.epochs,
        "epochs_chosen_on": chosen_on,
        "parameters": fitted.parameters,
        "search_curve": curve,
        "refit_curve": fitted.curve,
    }
    record.features = _describe_features(shared, unit, problem)
    return metrics.with_topk(users, ranked)


def _fit(
    shared: Shared,
    unit: Unit,
    problem: Problem,
    scratch: Path,
    validate: Problem | None = None,
    epochs: int | None = None,
) -> FitResult:
    def judge(scorer: Scorer) -> float:
        assert validate is not None
        return ranking.ndcg_at_10(scorer, validate, TIE_SEED)

    end = shared.folds[unit.fold].end
    return unit.model.fit(
        FitRequest(
            data=problem.training,
            features=_align(shared, unit, problem),
            fusion="id" if unit.cell.fusion == "-" else unit.cell.fusion,
            seed=unit.seed,
            validate=judge if validate is not None else None,
            epochs=epochs,
            checkpoint=scratch,
            device=shared.device,
            oracle=partial(shared.plugin.oracle, shared.dataset, end=end) if shared.dataset.simulated else None,
        )
    )


def _align(shared: Shared, unit: Unit, problem: Problem) -> ItemFeatures | None:
    if unit.features is None or unit.extractor is None:
        return None
    training = problem.training
    aligned = shared.features[unit.features].align(list(training.items), training.warm)
    return unit.extractor.on_items(aligned, unit.seed)


def _describe_features(shared: Shared, unit: Unit, problem: Problem) -> dict[str, Any]:
    aligned = _align(shared, unit, problem)
    if aligned is None or unit.features is None:
        return {}
    features = shared.features[unit.features]
    status, count = np.unique(features.status.astype(str), return_counts=True)
    return {
        "space": aligned.space_id,
        "config": dict(features.space.config),
        "provenance": dict(features.space.provenance),
        "shape": list(features.values.shape[1:]),
        "coverage": aligned.coverage,
        "status": {str(s): int(c) for s, c in zip(status, count, strict=True)},
        "bytes_per_item": int(features.values[:1].nbytes),
        "seconds_per_item": float(np.mean(features.seconds)) if len(features.seconds) else 0.0,
    }


def describe(dataset: Dataset) -> dict[str, Any]:
    """What a record says of its dataset."""
    log = dataset.interactions
    return {
        "name": dataset.name,
        "version": dataset.version,
        "fingerprint": dataset.fingerprint,
        "licence": dataset.licence,
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
