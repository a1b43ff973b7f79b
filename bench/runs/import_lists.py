"""Import of foreign lists as records: the folds, candidates, masks, metrics and audits of every other row."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import records, registry
from bench.cells import imported_key
from bench.runs import foreign_lists, worker
from bench.runs import run as runs
from bench.runs.context import Job, RunContext
from protocols.errors import DataError, UserError
from protocols.evaluation import metrics
from protocols.progress import Progress


def import_lists(path: Path, name: str, request: runs.Request, progress: Progress) -> runs.Outcome:
    """Rank the lists of a file on every fold and write records of them.

    Parameters
    ----------
    name
        Of the row: its model is `imported:NAME`.
    request
        Dataset, protocol and folders; its rows and seeds are not read.

    Raises
    ------
    UserError
        If the name makes no sense, a fold is missing, or the protocol ranks a user several times.
    DataError
        If the lists hold items that are no candidates, seen items, duplicates, or not every user, with the counts.
    """
    if not re.fullmatch(r"\w[\w.+-]{0,59}", name, re.ASCII):
        raise UserError(f"--name {name!r}: expected up to 60 letters, digits, and . _ + - inside")
    lists = foreign_lists.read(path)
    context, _ = runs.prepare(request, progress)
    if len(context.folds) == 1:
        lists = {(seed, max(fold, context.folds[0].index)): part for (seed, fold), part in lists.items()}
    seeds = foreign_lists.required(lists, [fold.index for fold in context.folds], path)
    model = checked(context, lists, path, progress)
    jobs = [job_of(context, request, name, model, seed, at) for seed in seeds for at in range(len(context.folds))]
    cached, clock = sum(records.finished(context.record(job)) for job in jobs), time.perf_counter()
    paths = [worker.compute(context, job) for job in jobs]
    return runs.Outcome(paths, context.board, cached, {"ranking": time.perf_counter() - clock})


def checked(context: RunContext, lists: foreign_lists.Lists, path: Path, progress: Progress) -> foreign_lists.Imported:
    """Hold all lists against their folds; see `import_lists`."""
    scorers, faults = {}, []
    depth = max(metrics.CUTOFFS)
    for fold in context.folds:
        problem = context.protocol.problem(context.dataset, fold, "test")
        if len(np.unique(problem.task.users)) < len(problem.task.users):
            raise UserError("this protocol ranks a user once for each target, and a list has one place for a user")
        for (seed, at), part in lists.items():
            if at != fold.index:
                continue
            where = f"fold {at}" + (f", seed {seed}" if seed else "")
            scorers[seed, fold.border], wrong, notes = foreign_lists.hold_against(part, problem, depth)
            faults += [f"{where}: {one}" for one in wrong]
            for note in notes:
                progress.say(f"{where}: {note}")
    if faults:
        raise DataError(
            f"{path}: " + "; ".join(faults), remedy="`bench data export` writes users, candidates and seen items"
        )
    return foreign_lists.Imported(content=hashlib.sha256(path.read_bytes()).hexdigest()[:16], scorers=scorers)


def job_of(
    context: RunContext, request: runs.Request, name: str, model: foreign_lists.Imported, seed: int, at: int
) -> Job:
    """Make the job of a seed and a fold."""
    options: dict[str, Any] = {
        "dataset": registry.create("dataset", request.dataset, request.options).options(),
        "protocol": context.protocol.options(),
        "extractor": {},
        "model": model.options(),
    }
    cell = records.Cell(request.dataset, request.protocol, f"{model.name}:{name}", "-", "-", options)
    fold = context.folds[at]
    key = imported_key(cell.id, seed, context.board, metrics.VERSION, fold.fingerprint)
    return Job(cell, model, None, None, seed, fold.index, key, fold.index, key)
