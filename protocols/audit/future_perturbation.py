"""Black-box leak check: perturb the log after the border and compare the scores of a refitted model.

A model that was fitted at a border must give bit-identical scores whatever happened at or after it. This catches
leaks wherever they are, also in code that no declared check knows of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from protocols.dataset import Dataset
from protocols.errors import BenchError
from protocols.ranking_problem import Fold, Problem, Scorer
from protocols.splitting.base import ProtocolPlugin


def without_future(dataset: Dataset, border: int) -> Dataset:
    """Drop every event at or after the border (milliseconds UTC)."""
    log = dataset.interactions
    return replace(dataset, interactions=log[log["timestamp"] < border].reset_index(drop=True))


def randomised_future(dataset: Dataset, border: int, seed: int) -> Dataset:
    """Replace user, item and time of every event at or after the border by random ones, in random number."""
    rng = np.random.default_rng([seed, 0xB1AC])
    log = dataset.interactions
    last = int(log["timestamp"].max())
    n = int((log["timestamp"] >= border).sum()) * 2 + 1
    future = pd.DataFrame(
        {
            "user_id": rng.choice(log["user_id"].unique(), n),
            "item_id": rng.choice(dataset.items.index.to_numpy(), n),
            "timestamp": rng.integers(border, max(last, border) + 1, n),
        }
    )
    order = ["timestamp", "user_id", "item_id"]
    future = future.drop_duplicates().sort_values(order, kind="stable")
    past = log[log["timestamp"] < border]
    return replace(dataset, interactions=pd.concat([past, future], ignore_index=True))


def changed_scores(
    dataset: Dataset,
    protocol: ProtocolPlugin,
    fold: Fold,
    fit: Callable[[Problem, Problem], Scorer],
    others: Sequence[Dataset],
    users: int = 64,
    searched: Fold | None = None,
) -> None:
    """Fit on a log and on others with a changed future, and compare the problem and all scores bit for bit.

    Parameters
    ----------
    dataset, protocol, fold
        The fold's border is where the future begins.
    fit
        From the validation and the test problem to a fitted model, with a fixed seed.
    others
        Datasets that agree with `dataset` before the fold's border.
    users
        Number of users scored.
    searched
        The fold whose validation problem `fit` gets; None: this one.

    Raises
    ------
    BenchError
        If the items of the problem, a history or any score differ; names the first.
    """

    def scores(data: Dataset) -> tuple[Problem, np.ndarray]:
        problem = protocol.problem(data, fold, "test")
        scorer = fit(protocol.problem(data, searched or fold, "validation"), problem)
        chosen = problem.training.users[:users]
        return problem, scorer.score(list(chosen), problem.training.sequences[:users])

    problem, expected = scores(dataset)
    for number, other in enumerate(others):
        changed, found = scores(other)
        where = f"changed future {number}: "
        if not np.array_equal(changed.training.items, problem.training.items):
            raise BenchError(f"{where}the items of the problem changed with it")
        if not np.array_equal(changed.task.candidates, problem.task.candidates):
            item = problem.training.items[np.argmax(changed.task.candidates != problem.task.candidates)]
            raise BenchError(f"{where}whether item {item!r} is a candidate changed with it")
        if fold.info["knobs"].get("targets") != "successive":  # the one protocol that shows events of the window
            _same_histories(where, problem, changed)
        if not np.array_equal(found, expected):
            row, column = np.argwhere(found != expected)[0]
            raise BenchError(
                f"{where}the score of item {problem.training.items[column]!r} for user "
                f"{problem.training.users[row]!r} changed with it"
            )


def _same_histories(where: str, problem: Problem, changed: Problem) -> None:
    """Compare the histories of users who are ranked in both problems."""
    shown = dict(zip(problem.task.users, problem.task.histories, strict=True))
    for user, history in zip(changed.task.users, changed.task.histories, strict=True):
        if user in shown and not np.array_equal(shown[user], history):
            raise BenchError(f"{where}the history of user {user!r} changed with it")
