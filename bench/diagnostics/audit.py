"""The leak audit of a whole protocol on a dataset, for `bench data audit`: every fold, and the black box on request."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.runs import worker
from bench.runs.context import Job, RunContext
from protocols.audit import leak_audit
from protocols.audit.future_perturbation import changed_scores, randomised_future, without_future
from protocols.errors import BenchError
from protocols.progress import Progress
from protocols.ranking_problem import Problem, Scorer

BLACK_BOX = "black box"


@dataclass(frozen=True)
class FoldAudit:
    """What the audit found in one fold.

    Attributes
    ----------
    fold
        0 is the earliest.
    info
        The fold's own record: borders, counts, what was dropped and why.
    verdicts
        check, ok, detail (and `by_construction`), of the validation and the test problem together: where both are
        fine, the detail is that of the test problem.
    """

    fold: int
    info: dict[str, Any]
    verdicts: list[leak_audit.Verdict]

    @property
    def failed(self) -> list[leak_audit.Verdict]:
        """What is not ok."""
        return [verdict for verdict in self.verdicts if not verdict["ok"]]


def folds(context: RunContext, jobs: list[Job], black_box: bool, progress: Progress) -> list[FoldAudit]:
    """Audit the fold of every job of one cell.

    Parameters
    ----------
    context, jobs
        From `bench.runs.run.prepare`, with one row and one seed.
    black_box
        Also fit the cell's model on logs with a changed future and compare its scores.
    """
    out = []
    with progress.task("audit", total=len(jobs)) as bar:
        for job in jobs:
            found = [*_declared(context, job)]
            if black_box:
                found.append(_black_box(context, job))
            out.append(FoldAudit(job.fold, context.folds[job.fold].info, found))
            bar.advance()
    return out


def _declared(context: RunContext, job: Job) -> list[leak_audit.Verdict]:
    """The verdicts on both problems of a fold, the worse one for each kind of leak."""
    fold, searched = context.folds[job.fold], context.folds[job.search_fold]
    merged: dict[object, leak_audit.Verdict] = {}
    stages: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    for stage in stages:
        problem = context.protocol.problem(context.dataset, fold, stage)
        features = context.aligned(job, problem)
        for verdict in leak_audit.verdicts(context.dataset, fold, problem, stage, features, searched):
            before = merged.get(verdict["check"])
            if before is None or before["ok"] or (before.get("by_construction") and not verdict["ok"]):
                merged[verdict["check"]] = verdict if verdict["ok"] else {**verdict, "stage": stage}
    return list(merged.values())


def _black_box(context: RunContext, job: Job) -> leak_audit.Verdict:
    """Fit the job's model on the log, and on the log with its future deleted and randomised."""
    fold, searched = context.folds[job.fold], context.folds[job.search_fold]
    label = job.cell.label
    if fold.info.get("retrospective"):
        detail = f"{label}: not run, this protocol has no border that separates a past from a future"
        return {"check": BLACK_BOX, "ok": False, "detail": detail, "by_construction": True}
    if job.model.trains_epochs:
        import torch

        torch.set_num_threads(context.threads)

    def fit(validation: Problem, test: Problem) -> Scorer:
        with tempfile.TemporaryDirectory() as scratch:  # a fit must not resume another's
            epochs = None
            if job.model.trains_epochs:
                features = context.aligned(job, validation)
                request = replace(context.fit_request(job, validation, features), checkpoint=Path(scratch, "search"))
                epochs = worker.choose_epochs(context, job, validation, request).epochs
            features = context.aligned(job, test)
            request = context.fit_request(job, test, features)
            return job.model.fit(replace(request, checkpoint=Path(scratch, "refit"), epochs=epochs)).scorer

    others = [without_future(context.dataset, fold.border), randomised_future(context.dataset, fold.border, job.seed)]
    try:
        changed_scores(context.dataset, context.protocol, fold, fit, others, searched=searched)
    except BenchError as error:
        return {"check": BLACK_BOX, "ok": False, "detail": f"{label}: {error}"}
    detail = f"{label}: all scores are the same, bit for bit, with the future deleted and randomised"
    return {"check": BLACK_BOX, "ok": True, "detail": detail}
