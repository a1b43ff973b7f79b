"""The leak audit of a whole protocol on a dataset, for `bench data audit`: every fold, and the black box on request."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.runs import worker
from bench.runs.worker import Shared, Unit
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


def folds(shared: Shared, units: list[Unit], black_box: bool, progress: Progress) -> list[FoldAudit]:
    """Audit the fold of every unit of one cell.

    Parameters
    ----------
    shared, units
        From `bench.runs.run.prepare`, with one row and one seed.
    black_box
        Also fit the cell's model on logs with a changed future and compare its scores.
    """
    out = []
    with progress.task("audit", total=len(units)) as bar:
        for unit in units:
            found = [*_declared(shared, unit)]
            if black_box:
                found.append(_black_box(shared, unit))
            out.append(FoldAudit(unit.fold, shared.folds[unit.fold].info, found))
            bar.advance()
    return out


def _declared(shared: Shared, unit: Unit) -> list[leak_audit.Verdict]:
    """The verdicts on both problems of a fold, the worse one for each kind of leak."""
    fold, searched = shared.folds[unit.fold], shared.folds[unit.search_fold]
    merged: dict[object, leak_audit.Verdict] = {}
    stages: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    for stage in stages:
        problem = shared.protocol.problem(shared.dataset, fold, stage)
        features = worker.aligned(shared, unit, problem)
        for verdict in leak_audit.verdicts(shared.dataset, fold, problem, stage, features, searched):
            before = merged.get(verdict["check"])
            if before is None or before["ok"] or (before.get("by_construction") and not verdict["ok"]):
                merged[verdict["check"]] = verdict if verdict["ok"] else {**verdict, "stage": stage}
    return list(merged.values())


def _black_box(shared: Shared, unit: Unit) -> leak_audit.Verdict:
    """Fit the unit's model on the log, and on the log with its future deleted and randomised."""
    fold, searched = shared.folds[unit.fold], shared.folds[unit.search_fold]
    label = unit.cell.label
    if fold.info.get("retrospective"):
        detail = f"{label}: not run, this protocol has no border that separates a past from a future"
        return {"check": BLACK_BOX, "ok": False, "detail": detail, "by_construction": True}
    if unit.model.trains_epochs:
        import torch

        torch.set_num_threads(shared.threads)

    def fit(validation: Problem, test: Problem) -> Scorer:
        with tempfile.TemporaryDirectory() as scratch:  # a fit must not resume another's
            epochs = None
            if unit.model.trains_epochs:
                features = worker.aligned(shared, unit, validation)
                epochs = worker.choose_epochs(shared, unit, validation, features, Path(scratch, "search")).epochs
            features = worker.aligned(shared, unit, test)
            return worker.fit(shared, unit, test, features, Path(scratch, "refit"), epochs=epochs).scorer

    others = [without_future(shared.dataset, fold.border), randomised_future(shared.dataset, fold.border, unit.seed)]
    try:
        changed_scores(shared.dataset, shared.protocol, fold, fit, others, searched=searched)
    except BenchError as error:
        return {"check": BLACK_BOX, "ok": False, "detail": f"{label}: {error}"}
    detail = f"{label}: all scores are the same, bit for bit, with the future deleted and randomised"
    return {"check": BLACK_BOX, "ok": True, "detail": detail}
