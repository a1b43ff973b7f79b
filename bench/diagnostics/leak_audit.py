"""Leak audit of a protocol on a dataset: the verdicts of every fold, and optionally a black-box test of a model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tabulate import tabulate

from bench.runs import pool, worker
from bench.runs.context import Job, RunContext
from protocols.audit import future_counts, leak_audit
from protocols.audit.future_perturbation import changed_scores, randomised_future, without_future
from protocols.audit.log_facts import LogFacts
from protocols.dataset import Dataset
from protocols.errors import BenchError
from protocols.progress import Progress
from protocols.ranking_problem import Problem, Scorer

BLACK_BOX = "black box"


@dataclass(frozen=True)
class FoldAudit:
    """Verdicts on one fold.

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
        """Verdicts that are not ok."""
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
    LogFacts.of(context.dataset)  # once, before threads ask for it

    def audited(job: Job) -> FoldAudit:
        found = [*_declared(context, job), *([_black_box(context, job)] if black_box else [])]
        return FoldAudit(job.fold, context.folds[job.fold].info, found)

    # the black box withholds the dataset from everybody: one at a time; arrays of a large log are large: few at a time
    threads = 1 if black_box else min(pool.cores(), 4)
    out = []
    with progress.task("audit", total=len(jobs)) as bar, ThreadPoolExecutor(threads) as executor:
        for one in executor.map(audited, jobs):
            out.append(one)
            bar.advance()
    return out


def first_leak(found: Sequence[FoldAudit]) -> str:
    """Describe the first leak with its fold and stage; empty where all verdicts are ok."""
    for fold in found:
        for verdict in fold.failed:
            stage = f", {verdict['stage']}" if "stage" in verdict else ""
            return f"fold {fold.fold}{stage}: {verdict['check']}: {verdict['detail']}"
    return ""


def tables(found: Sequence[FoldAudit]) -> str:
    """Write the counts of the folds, and the verdicts on them, as two tables with a column for each fold."""
    columns = [_info_lines(fold.info) for fold in found]
    names = list(dict.fromkeys(name for column in columns for name in column))
    counts = [[name, *(column.get(name, "-") for column in columns)] for name in names]
    verdicts = []
    for one in found[0].verdicts:
        of_folds = [next(v for v in fold.verdicts if v["check"] == one["check"]) for fold in found]
        shown = next((v for v in of_folds if not v["ok"] or v.get("warning")), of_folds[-1])
        verdicts.append([one["check"], *map(_word, of_folds), shown["detail"]])
    return "\n\n".join(
        tabulate(body, head, tablefmt="github", disable_numparse=True)
        for head, body in (
            (["fold", *(str(fold.fold) for fold in found)], counts),
            (
                ["kind of leak", *(f"fold {fold.fold}" for fold in found), "first finding, or what was checked"],
                verdicts,
            ),
        )
    )


def _word(verdict: leak_audit.Verdict) -> str:
    return "LEAK" if not verdict["ok"] else "WARNING" if verdict.get("warning") else "ok"


def _info_lines(info: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a fold's column by the name of their row."""
    lines = {}
    for name, key in (
        ("validation from (UTC)", "validation_border"),
        ("validation to", "validation_end"),
        ("test from", "border"),
        ("test to", "end"),
    ):
        if key in info:
            lines[name] = info[key].replace("T", " ").removesuffix(":00Z")
    for name, part in (("for validation", "fitted"), ("for test", "refitted")):
        if part in info:
            fitted = info[part]
            lines[f"fitted {name}"] = f"{fitted['interactions']}"
            lines[f"  its users, items {name}"] = f"{fitted['users']}, {fitted['items']}"
    lines |= {
        "events in the window" if "border" in info else "events kept": f"{info['interactions']}",
        "users ranked": f"{info['users']}",
        "targets": f"{info['targets']}",
        "targets a user, mean (median)": f"{info['targets_per_user_mean']:.2f} ({info['targets_per_user_median']:g})",
        "cold share of targets": f"{info['cold_targets'] / max(info['targets'], 1):.1%}",
    }
    if "released_in_window" in info:
        lines["released in the window"] = f"{info['released_in_window']:.1%}"
    lines |= {f"dropped: {why.replace('_', ' ')}": str(n) for why, n in info["dropped"].items()}
    lines["candidates"] = str(info["candidates"])
    return lines


def _declared(context: RunContext, job: Job) -> list[leak_audit.Verdict]:
    """Audit both problems of a fold, and keep the worse verdict for each kind of leak."""
    fold, searched = context.folds[job.fold], context.folds[job.search_fold]
    merged: dict[object, leak_audit.Verdict] = {}
    stages: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    for stage in stages:
        problem = context.protocol.problem(context.dataset, fold, stage)
        features = context.aligned(job, problem)
        found = leak_audit.verdicts(context.dataset, fold, problem, stage, features, searched)
        if stage == "test":
            found.append(future_counts.verdict(context.dataset, fold, problem, features))
        for verdict in found:
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

    def fit(dataset: Dataset, validation: Problem, test: Problem) -> Scorer:
        known = replace(context, dataset=dataset)  # nothing else may be reached from here
        with tempfile.TemporaryDirectory() as scratch:  # a fit must not resume another's
            epochs = None
            if job.model.trains_epochs:
                features = known.aligned(job, validation)
                request = replace(known.fit_request(job, validation, features), checkpoint=Path(scratch, "search"))
                epochs = worker.choose_epochs(known, job, validation, request).epochs
            features = known.aligned(job, test)
            request = known.fit_request(job, test, features)
            return job.model.fit(replace(request, checkpoint=Path(scratch, "refit"), epochs=epochs)).scorer

    others = [without_future(context.dataset, fold.border), randomised_future(context.dataset, fold.border, job.seed)]
    try:
        changed_scores(context.dataset, context.protocol, fold, fit, others, searched=searched, seed=worker.TIE_SEED)
    except BenchError as error:
        return {"check": BLACK_BOX, "ok": False, "detail": f"{label}: {error}"}
    detail = f"{label}: all scores and lists are the same, bit for bit, with the future deleted and randomised"
    return {"check": BLACK_BOX, "ok": True, "detail": detail}
