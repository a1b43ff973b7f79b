"""Black-box leak check: perturb the log after the border and compare the scores of a refitted model.

A model that was fitted at a border must give bit-identical scores whatever happened at or after it. This catches
leaks wherever they are, also in code that no declared check knows of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from protocols.dataset import Dataset
from protocols.errors import BenchError
from protocols.evaluation.ranking import Ranker
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


class _Withheld(Dataset):
    """Class that a dataset has while nobody may read its log."""

    def __getattribute__(self, name: str) -> object:
        if name in ("interactions", "indexed_log"):
            raise BenchError("code beside the problem read the log of the dataset, which holds the future")
        return super().__getattribute__(name)


@contextmanager
def withheld(dataset: Dataset) -> Iterator[None]:
    """Make every reading of a dataset's log an error, whoever holds the dataset."""
    own = type(dataset)
    object.__setattr__(dataset, "__class__", _Withheld)
    try:
        yield
    finally:
        object.__setattr__(dataset, "__class__", own)


class _Recorder:
    """Scorer that keeps the histories a ranker gives to a model, and the model's answers."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.histories: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score, see `protocols.ranking_problem.Scorer`."""
        found = self.scorer.score(users, histories)
        self.histories += [np.array(history) for history in histories]
        self.scores += list(np.array(found))
        return found


@dataclass(frozen=True, eq=False)
class _World:
    """Test problem of one log, the model fitted to it, and its scores [B, M] of some fitted users."""

    problem: Problem
    scorer: Scorer
    scores: np.ndarray


def changed_scores(
    dataset: Dataset,
    protocol: ProtocolPlugin,
    fold: Fold,
    fit: Callable[[Dataset, Problem, Problem], Scorer],
    others: Sequence[Dataset],
    users: int = 64,
    searched: Fold | None = None,
    seed: int = 0,
) -> None:
    """Fit and rank on a log and on others with a changed future, and compare all that must not change bit for bit.

    Compared are items, candidates and histories of the problems, scores of fitted users, and of users who are ranked in
    both worlds the histories that the ranker gives to the model, its scores, the lists, and the order of ties.
    While another log is fitted and ranked, reading this one is an error.

    Parameters
    ----------
    dataset, protocol, fold
        The fold's border is where the future begins.
    fit
        From a dataset, its validation and its test problem to a fitted model, with a fixed seed.
    others
        Datasets that agree with `dataset` before the fold's border.
    users
        Number of users scored, and ranked.
    searched
        The fold whose validation problem `fit` gets; None: this one.
    seed
        Of the tie-break.

    Raises
    ------
    BenchError
        If anything differs, naming the first, or code beside the problem reads `dataset` where it must not.
    """

    def world(data: Dataset) -> _World:
        problem = protocol.problem(data, fold, "test")
        scorer = fit(data, protocol.problem(data, searched or fold, "validation"), problem)
        chosen = problem.training.users[:users]
        return _World(problem, scorer, scorer.score(list(chosen), problem.training.sequences[:users]))

    expected = world(dataset)
    for number, other in enumerate(others):
        where = f"changed future {number}: "
        with withheld(dataset):
            try:
                found = world(other)
            except BenchError as error:
                raise BenchError(f"{where}{error}") from error
        _same_problem(where, expected, found)
        if fold.info["knobs"].get("targets") == "successive":  # the one protocol that shows events of the window
            continue
        _same_histories(where, expected.problem, found.problem)
        both = np.intersect1d(expected.problem.task.users, found.problem.task.users)[:users]
        one = _ranked(expected, both, seed)
        with withheld(dataset):
            two = _ranked(found, both, seed)
        for what in one:
            for at, (first, second) in enumerate(zip(one[what], two[what], strict=True)):
                if not np.array_equal(first, second):
                    raise BenchError(f"{where}{what} of user {both[at]!r} in the ranker changed with it")


def _same_problem(where: str, expected: _World, found: _World) -> None:
    problem, changed = expected.problem, found.problem
    items = problem.training.items
    if not np.array_equal(changed.training.items, items):
        raise BenchError(f"{where}the items of the problem changed with it")
    if not np.array_equal(changed.task.candidates, problem.task.candidates):
        item = items[np.argmax(changed.task.candidates != problem.task.candidates)]
        raise BenchError(f"{where}whether item {item!r} is a candidate changed with it")
    if not np.array_equal(found.scores, expected.scores):
        row, column = np.argwhere(found.scores != expected.scores)[0]
        raise BenchError(
            f"{where}the score of item {items[column]!r} for user {problem.training.users[row]!r} changed with it"
        )


def _ranked(world: _World, users: np.ndarray, seed: int) -> dict[str, Sequence[np.ndarray]]:
    """Rank some users of the task, and return what the ranker gave to the model, and what it made of the answers.

    The order of ties is ranked by itself, since scores may hold none.
    """
    task = world.problem.task
    at = np.flatnonzero(np.isin(task.users, users))
    chosen = replace(
        task,
        users=task.users[at],
        histories=[task.histories[i] for i in at],
        targets=[task.targets[i] for i in at],
        seen=None if task.seen is None else [task.seen[i] for i in at],
    )
    problem = replace(world.problem, task=chosen)
    recorder, level = _Recorder(world.scorer), _Level(len(world.problem.training.items))
    lists = Ranker(problem, seed).rank(recorder).top
    return {
        "the history": recorder.histories,
        "the scores": recorder.scores,
        "the list": list(lists),
        "the order of ties": list(Ranker(problem, seed).rank(level).top),
    }


class _Level:
    """Scorer that gives all items the same score."""

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score, see `protocols.ranking_problem.Scorer`."""
        return np.zeros((len(users), self.n_items), dtype=np.float32)


def _same_histories(where: str, problem: Problem, changed: Problem) -> None:
    """Compare the histories of users who are ranked in both problems."""
    shown = dict(zip(problem.task.users, problem.task.histories, strict=True))
    for user, history in zip(changed.task.users, changed.task.histories, strict=True):
        if user in shown and not np.array_equal(shown[user], history):
            raise BenchError(f"{where}the history of user {user!r} changed with it")
