"""Computation of one job, from fit to record, in a worker process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import traceback
from dataclasses import asdict, replace
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from filelock import FileLock

from bench import records
from bench.environment import environment
from bench.runs.claims import claim
from bench.runs.context import Job, RunContext
from bench.runs.job_progress import JobProgress
from feature_extractors.base import Extractor
from feature_extractors.pipeline.devices import gpu_uuid
from feature_extractors.store import diagnostics
from protocols import json_text, object_store
from protocols.audit import future_counts, leak_audit
from protocols.audit.ranker_watch import RankerWatch
from protocols.dataset import Dataset
from protocols.errors import BenchError
from protocols.evaluation import fold_metrics, metrics, ranking, slices, user_sample
from protocols.features import ItemFeatures
from protocols.ranking_problem import Fold, Problem, Scorer
from protocols.resource_usage import Meter, Usage
from recommenders.base import FitRequest, FitResult

# Equal scores break by this seeded hash of the raw item id, for every model and every run alike.
TIE_SEED = 0


_context: RunContext | None = None
_news: SimpleQueue[str] | None = None


def start_reporting(shared: tuple[RunContext, SimpleQueue[str]]) -> None:
    """Prepare a worker process, see `start`, that puts a line into a queue after each epoch."""
    global _news
    context, _news = shared
    start(context)


def start(context: RunContext) -> None:
    """Prepare a worker process: quiet on Ctrl-C (the parent handles it), gone when the parent is gone."""
    global _context
    _context = context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()


def _follow_parent(parent: int) -> None:
    # A killed parent leaves its pool workers waiting for ever: they hold both ends of the queue.
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def prepared() -> RunContext:
    """Return the context that `start` was given in this process."""
    assert _context is not None, "call start(context) first"
    return _context


def work(job: Job) -> Path | None:
    """Compute one job in a process that `start` has prepared.

    Returns
    -------
    Path | None
        Of its record; None if another process is computing the job.
    """
    return claimed(prepared(), job)


def claimed(context: RunContext, job: Job) -> Path | None:
    """Compute one job unless another process is computing it, as `work`."""
    with claim(context.record(job).with_suffix(".claim")) as free:
        return compute(context, job) if free else None


def compute(context: RunContext, job: Job) -> Path:
    """Compute one job, unless another process has just finished it.

    Errors become a record with status `failed`; only what ends the process is raised.

    Returns
    -------
    Path
        Of the record's JSON.
    """
    if job.model.trains_epochs:  # popularity needs no torch, which takes seconds to import
        import torch

        torch.set_num_threads(context.threads)
    path, scratch = context.record(job), context.scratch(job.key)
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{scratch}.lock"):
        records.fetch(path)
        if records.finished(path):
            return path
        record = new_record(context, job)
        users = None
        try:
            with Meter(context.device, gpu_uuid(context.device)) as meter:
                users = _evaluate(context, job, record, scratch)
                record.usage = _usage(context, job, meter.used())
        except Exception as error:
            record.status, record.error = "failed", f"{type(error).__name__}: {error}"
            if not isinstance(error, BenchError):
                record.error += "\n" + traceback.format_exc(limit=8)
        record.peak_memory_mb = peak_memory_mb()
        written = records.write(path.parent, record, users)
        if record.status == "ok":
            shutil.rmtree(scratch, ignore_errors=True)
        return written


def new_record(context: RunContext, job: Job) -> records.Record:
    """Make the record of a job with all that is known before it is computed."""
    return records.Record(
        cell=asdict(job.cell),
        key=job.key,
        seed=job.seed,
        fold=job.fold,
        board=context.board,
        simulated=context.dataset.simulated,
        passed=context.passed,
        tuning=dict(job.tuning),
        dataset=_describe(context.dataset),
        fold_info={
            **context.folds[job.fold].info,
            "folds": len(context.folds),
            "fingerprint": context.folds[job.fold].fingerprint,
            **_decided(context, job),
        },
        device=context.device,
        environment={**environment(), "threads": context.threads},
        metrics_version=metrics.VERSION,
    )


def _decided(context: RunContext, job: Job) -> dict[str, Any]:
    """Say what the size of the catalogue has decided for the run and for this row; nothing where it has not."""
    found = {"left_out": context.by_size.left_out, "chosen_by_size": context.by_size.chosen.get(job.cell.id)}
    return {name: value for name, value in found.items() if value}


def _evaluate(context: RunContext, job: Job, record: records.Record, scratch: Path) -> pd.DataFrame:
    """Search, refit and rank; fill the record and return the per-user frame."""
    cpu, clock = time.process_time(), time.perf_counter()
    search = _search(context, job) if job.model.trains_epochs else {}
    record.seconds["search"] = time.perf_counter() - clock

    clock = time.perf_counter()
    problem, features, verdicts = _problem(context, job, context.folds[job.fold], "test")
    record.audit = [*search.get("audit", []), *verdicts]
    request = replace(
        context.fit_request(job, problem, features),
        **_reports(job, "refit", fixed=True),
        checkpoint=scratch / "refit",
        epochs=search.get("epochs"),
        snapshots=context.snapshots(job.fitted_by) if job.fitted_by else None,
        weights=context.weights(job),
    )
    fitted = job.model.fit(request)
    record.seconds["refit"] = time.perf_counter() - clock

    clock = time.perf_counter()
    watch = RankerWatch(fitted.scorer, problem)
    shown, of = _progress(job, "test"), len(problem.task.users)
    ranked = ranking.rank_users(
        watch, problem, TIE_SEED, threads=context.ranking_threads, on_chunk=lambda done: shown.users(done, of)
    )
    record.audit.append({"fold": job.fold, "stage": "test", **leak_audit.required(watch.verdict(ranked, TIE_SEED))})
    users = fold_metrics.user_metrics(ranked)
    means = {**fold_metrics.means(users), **fold_metrics.board_metrics(ranked, problem)}
    record.metrics = {name: None if np.isnan(value) else value for name, value in means.items()}
    record.seconds["rank"] = time.perf_counter() - clock
    record.seconds["cpu"] = time.process_time() - cpu

    record.training = {
        "epochs": fitted.epochs,
        "epochs_chosen_on": search.get("chosen_on"),
        "doubts": search.get("doubts", []),
        **{name: search[name] for name in ("validated_on",) if search.get(name)},
        "parameters": fitted.parameters,
        "search_curve": search.get("curve", []),
        "refit_curve": fitted.curve,
        "layer_weights": fitted.layer_weights,
        **fitted.facts,
    }
    record.features = _describe_features(context, job, features)
    return slices.with_targets(
        fold_metrics.with_topk(users, ranked), ranked, problem, context.dataset.items.get("duration")
    )


def _usage(context: RunContext, job: Job, training: Usage) -> dict[str, Any]:
    """Return what a job has taken, and the extraction of its features, as far as all stages of that were measured."""
    found = {"training": training.as_json()}
    features = context.features[job.features] if job.features is not None else None
    stages = list(features.usage.values()) if features is not None else []
    if features is not None and stages and all(one is not None and one.items for one in stages):
        each = [one.for_items(len(features.item_ids)) for one in stages if one is not None]
        found["extraction"] = replace(sum(each, Usage()), items=len(features.item_ids)).as_json()
    return found


def _search(context: RunContext, job: Job) -> dict[str, Any]:
    """Choose the number of epochs by early stopping on a validation window, once for all jobs that share the search."""
    path = context.record(job).with_name(f"search-{job.search_key}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        object_store.fetch(path)
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        fold = context.folds[job.search_fold]
        problem, features, verdicts = _problem(context, job, fold, "validation")
        scratch, snapshots = context.scratch(job.search_key), context.snapshots(job.search_key)
        request = replace(
            context.fit_request(job, problem, features),
            **_reports(job, "search"),
            checkpoint=scratch,
            snapshots=snapshots,
        )
        found = choose_epochs(context, job, problem, request)
        content = {
            "epochs": found.epochs,
            "chosen_on": f"validation window of fold {fold.index}",
            "curve": found.curve,
            "doubts": found.doubts,
            "audit": verdicts,
            **{name: found.facts[name] for name in ("validated_on",) if name in found.facts},
        }
        object_store.write(path, json_text.dumps(content))
        shutil.rmtree(scratch, ignore_errors=True)
        return content


def choose_epochs(context: RunContext, job: Job, problem: Problem, request: FitRequest) -> FitResult:
    """Fit on a validation problem until its nDCG@10 no longer grows: `epochs` of the result is for the refit.

    Where users were drawn for validation, the result's facts say so (`validated_on`).
    """
    problem, validated_on = user_sample.for_validation(problem)
    ranker, of = ranking.Ranker(problem, TIE_SEED, threads=context.ranking_threads), len(problem.task.users)

    def validate(scorer: Scorer) -> float:
        shown = _progress(job, "validation")
        return ranker.ndcg(scorer, on_chunk=lambda done: shown.users(done, of))

    found = job.model.fit(replace(request, validate=validate))
    return replace(found, facts={**found.facts, "validated_on": validated_on}) if validated_on else found


def _progress(job: Job, stage: str) -> JobProgress:
    """Make the lines on a stage that go to the queue of the parent, where there is one."""
    return JobProgress(job, stage, _news.put if _news else None)


def _reports(job: Job, stage: str, fixed: bool = False) -> dict[str, Any]:
    """Make the functions that a fit calls after each epoch and after each step."""
    shown = _progress(job, stage)
    return {
        "report": lambda epoch, note: shown.say(f"epoch {epoch}, {note}"),
        "within": partial(shown.epochs, fixed=fixed),
    }


def _problem(
    context: RunContext, job: Job, fold: Fold, stage: Literal["validation", "test"]
) -> tuple[Problem, ItemFeatures | None, list[dict[str, Any]]]:
    """Make a problem of a fold and the features aligned to it, and audit them before anything is learned."""
    problem = context.protocol.problem(context.dataset, fold, stage)
    features = context.aligned(job, problem)
    searched = context.folds[job.search_fold] if job.model.trains_epochs else None
    verdicts = leak_audit.audit(context.dataset, fold, problem, stage, features, searched)
    if stage == "test":
        verdicts.append(future_counts.verdict(context.dataset, fold, problem, features))
    return problem, features, [{"fold": fold.index, "stage": stage, **verdict} for verdict in verdicts]


def _describe_features(context: RunContext, job: Job, aligned: ItemFeatures | None) -> dict[str, Any]:
    if aligned is None or job.features is None:
        return {}
    features = context.features[job.features]
    status, count = np.unique(features.status.astype(str), return_counts=True)
    return {
        "space": features.space.id,
        "digest": features.digest,
        "control": _control(job.extractor),
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
    """Name the controls that are wrapped around the extractor that makes the features; "" for none."""
    names = []
    while extractor is not None and extractor.wraps:
        names.append(extractor.name)
        extractor = getattr(extractor, extractor.wraps)
    return ":".join(names)


def _describe(dataset: Dataset) -> dict[str, Any]:
    log = dataset.interactions
    return {
        "name": dataset.name,
        "version": dataset.version,
        "fingerprint": dataset.fingerprint,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "users": len(dataset.indexed_log.users),
        "items": len(dataset.items),
        "interactions": len(log),
        "duplicates_dropped": dataset.duplicates,
    }


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
