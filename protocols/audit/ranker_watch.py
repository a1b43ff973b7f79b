"""Leak audit of the ranker: the questions it asks of a model, and the lists that follow from the answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.evaluation.ranking import Ranking
from protocols.hashing import seeded_order
from protocols.ranking_problem import Problem, Scorer

CHECK = "ranker"
# Users whose lists and ranks are made again; the histories of all are compared.
REPEATED = 16


class RankerWatch:
    """Scorer that stands between a ranker and a model, and notes questions and answers.

    A problem is audited when it is made. What a ranker makes of it afterwards is not: an event added to a history on
    the way to the model, candidates cut, ties broken by something else than the seeded hash. The watch copies what
    the ranker is to use before it begins.

    Parameters
    ----------
    scorer
        The fitted model.
    problem
        As audited.
    """

    def __init__(self, scorer: Scorer, problem: Problem) -> None:
        task = problem.task
        self.scorer, self.problem = scorer, problem
        self.users = list(task.users)
        self.histories = [np.array(history) for history in task.histories]
        self.masked = [np.array(seen) for seen in task.masked[:REPEATED]]
        self.targets = [np.array(targets) for targets in task.targets[:REPEATED]]
        self.candidates = task.candidates.copy()
        self.asked = 0
        self.scores: np.ndarray | None = None
        self.wrong = ""

    @property
    def shared(self) -> np.ndarray | None:
        """Pass on what all users get; a ranker that reads it asks for no single user, see `Scorer`."""
        shared = getattr(self.scorer, "shared", None)
        if shared is not None:
            self.asked = len(self.users)
            self.scores = np.tile(shared, (min(REPEATED, self.asked), 1))
        return shared

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Pass on; see `protocols.ranking_problem.Scorer`."""
        scores = self.scorer.score(users, histories)
        at, self.asked = self.asked, self.asked + len(users)
        if self.scores is None:
            self.scores = np.array(scores[:REPEATED])
        if not self.wrong and list(users) != self.users[at : self.asked]:
            self.wrong = f"users from {users[0]!r} on are not those of the problem"
        for user, given, own in zip(users, histories, self.histories[at : self.asked], strict=False):
            if not self.wrong and not np.array_equal(given, own):
                self.wrong = f"the history of user {user!r} that the model was given is not that of the problem"
        return scores

    def verdict(self, ranking: Ranking, seed: int) -> dict[str, object]:
        """Judge the ranker by what it asked and by its lists and ranks.

        Parameters
        ----------
        seed
            Of the tie-break.

        Returns
        -------
        dict
            check, ok, detail; see `protocols.audit.leak_audit.audit`.
        """
        bad = self.wrong or self._missing() or self._lists(ranking, seed)
        alike = getattr(self.scorer, "shared", None) is not None
        shown = "the same scores for all" if alike else f"{self.asked} histories as in the problem"
        good = f"{shown}; lists and ranks of {self._repeated} users made again"
        return {"check": CHECK, "ok": not bad, "detail": bad or good}

    @property
    def _repeated(self) -> int:
        return 0 if self.scores is None else len(self.scores)

    def _missing(self) -> str:
        return "" if self.asked == len(self.users) else f"{self.asked} of {len(self.users)} histories were scored"

    def _lists(self, ranking: Ranking, seed: int) -> str:
        order = seeded_order(self.problem.training.items, seed)
        for at in range(self._repeated):
            assert self.scores is not None
            scores = np.where(self.candidates, self.scores[at], -np.inf)
            scores[self.masked[at]] = -np.inf
            best = np.lexsort((order, -scores))
            best = best[: np.count_nonzero(scores > -np.inf)]
            top = ranking.top[at][ranking.top[at] >= 0]
            if not np.array_equal(top, best[: ranking.top.shape[1]]):
                return f"the list of user {self.users[at]!r} does not follow from scores, candidates and the tie-break"
            place = np.full(len(scores) + 1, np.inf)  # the last one is for targets outside the problem
            place[best] = np.arange(1, len(best) + 1)
            if not np.array_equal(ranking.rank[ranking.target_user == at], place[self.targets[at]]):
                return f"the ranks of the targets of user {self.users[at]!r} do not follow from scores and candidates"
        return ""
