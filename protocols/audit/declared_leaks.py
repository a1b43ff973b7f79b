"""Leak audit of protocols that leak the future by construction, with the first offending row.

Such protocols (leave-one-out) exist to reproduce published numbers. A leak that they declare is not ok, and no error
either; fitting on the target itself is an error in every protocol.
"""

from __future__ import annotations

import numpy as np

from protocols.audit.checks import LeakChecks
from protocols.dataset import Dataset
from protocols.features import ItemFeatures
from protocols.ranking_problem import Fold, Problem, Stage

BY_CONSTRUCTION = "leaks the future by construction: "


def verdicts(
    dataset: Dataset,
    fold: Fold,
    problem: Problem,
    stage: Stage,
    features: ItemFeatures | None = None,
) -> list[dict[str, object]]:
    """Audit a problem of a fold whose info says `retrospective`.

    Returns
    -------
    list of dict
        check, ok, detail and by_construction, for each of `leak_audit.KINDS`. `by_construction` is true where
        the protocol leaks as it declares.
    """
    case = _DeclaredLeakChecks(dataset, fold, problem, stage)
    declared = {
        "parameters": BY_CONSTRUCTION + case.evidence(),
        "k-core": f"{BY_CONSTRUCTION}users and items are kept for their events of the whole period",
        "popularity": f"{BY_CONSTRUCTION}counted on the rows fitted on",
        "id maps": f"{BY_CONSTRUCTION}items of the whole period are numbered",
        "feature statistics": f"{BY_CONSTRUCTION}mean and scale are those of the items fitted on" if features else "",
        "histories": "",
        "early stopping": f"{BY_CONSTRUCTION}validated on events later than other users' targets",
        "candidate set": f"{BY_CONSTRUCTION}items of the whole period, whenever they appeared",
    }
    wrong = {"parameters": case.fitted(), "popularity": case.popularity(), "histories": case.histories()}
    fine = {"feature statistics": "no features in this run", "histories": "no history holds its target"}
    return [
        {
            "check": kind,
            "ok": not leaks and not wrong.get(kind),
            "detail": wrong.get(kind) or leaks or fine[kind],
            "by_construction": bool(leaks) and not wrong.get(kind),
        }
        for kind, leaks in declared.items()
    ]


class _DeclaredLeakChecks(LeakChecks):
    """Checks of one problem of a retrospective fold. Each returns the first violation as text, or an empty text."""

    def __init__(self, dataset: Dataset, fold: Fold, problem: Problem, stage: Stage) -> None:
        super().__init__(dataset, fold, problem, stage, fold)
        self.timed = dataset.timed
        self.user = np.repeat(self.ranked, [len(t) for t in self.task.targets])
        position = np.concatenate([np.zeros(0, np.int64), *self.task.targets])
        self.target = np.where(position >= 0, self.item[position], -1)

    def time(self, row: int) -> str:
        """Name the time of a row, or its position in the user's sequence."""
        return super().time(row) if self.timed else f"event {self.log.time[row]} of the user"

    def evidence(self) -> str:
        """Name the first fitted row that is later than the earliest target."""
        pairs = self.facts.pair(self.user, self.target)[self.target >= 0]
        targets = np.flatnonzero(np.isin(self.facts.pairs(slice(None)), pairs))
        if not self.timed:
            return "events have no times, so what one user does after another's target is fitted on"
        late = self.rows[self.log.time[self.rows] > self.log.time[targets[0]]] if len(targets) else targets
        if not len(late):
            return "no row fitted on is later than a target here, but nothing keeps it so"
        return f"{self.row(late[0])} is fitted on, later than the target in {self.row(targets[0])}"

    def fitted(self) -> str:
        """Check that the fitted rows are those of the fold and hold no user's own target."""
        t, log = self.training, self.log
        if len(t.user) != len(self.rows):
            return f"{len(t.user)} rows are fitted on, the fold has {len(self.rows)}"
        user, item = self.facts.user_codes(t.users)[t.user], self.item[t.item]
        same = (user == log.user[self.rows]) & (item == log.item[self.rows])
        if not same.all():
            return f"fitted row {np.argmin(same)} is not {self.row(self.rows[np.argmin(same)])}"
        own = np.isin(self.facts.pair(user, item), self.facts.pair(self.user, self.target))
        return f"the target itself is fitted on: {self.row(self.rows[np.argmax(own)])}" if own.any() else ""

    def histories(self) -> str:
        """Check that no history holds its own target."""
        for user, history, targets in zip(self.task.users, self.task.histories, self.task.targets, strict=True):
            if np.isin(targets, history).any():
                return f"the history of user {user!r} holds its own target"
        return ""
