"""Recommendation lists of other software: read from a file, held against the folds, ranked like a model's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from protocols.datasets.files import columns, formats
from protocols.datasets.files.tables import Table
from protocols.errors import DataError, UserError
from protocols.ranking_problem import Problem
from protocols.wording import counted
from recommenders.base import FitRequest, FitResult, Recommender

if TYPE_CHECKING:
    import pandas as pd

#: Prefix of the model's name in records.
PREFIX = "imported"
#: Names of a column, the first of each as `bench data export` writes it.
NAMES = {"user": ("user_id", "user"), "item": ("item_id", "item"), "fold": ("fold",), "seed": ("seed",)}
COLUMNS = (*(name for names in NAMES.values() for name in names), "score", "rank")
REMEDY = "columns are user_id, item_id, score or rank, and fold (seed, where there are several)"
Lists = dict[tuple[int, int], "pd.DataFrame"]


def read(path: Path) -> Lists:
    """Read lists from a file: csv or other text, parquet, Arrow, JSON lines.

    Returns
    -------
    dict
        By seed (0: the file has no column `seed`) and fold (-1: none `fold`): a frame of `user` and `item` (raw ids)
        and `place` (float64, lower is better: the rank, else the score with its sign turned).

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or a cell is no id, finite number or whole number from 0 on.
    """
    import pandas as pd

    table = formats.read(path, formats.Reading("lists", COLUMNS, ()))
    user, item = (_named(table, what) for what in ("user", "item"))
    if user is None or item is None or not ("rank" in table or "score" in table):
        raise DataError(f"{path} has columns {', '.join(table.names)}", remedy=REMEDY)
    place = _finite(table, "rank") if "rank" in table else -_finite(table, "score")
    numbers = {what: _whole(table, what) for what in ("seed", "fold")}
    frame = pd.DataFrame({"user": columns.ids(table, user), "item": columns.ids(table, item), "place": place})
    absent = {"seed": 0, "fold": -1}
    keys = [np.full(len(frame), absent[w]) if numbers[w] is None else numbers[w] for w in ("seed", "fold")]
    groups: Any = frame.groupby(keys, sort=True)
    return {(int(seed), int(fold)): part for (seed, fold), part in groups}


def _named(table: Table, what: str) -> str | None:
    return next((name for name in NAMES[what] if name in table), None)


def _finite(table: Table, name: str) -> np.ndarray:
    values = columns.numbers(table, name, least=-np.inf)
    if np.isnan(values).any():
        raise table.error(int(np.argmax(np.isnan(values))), f"{name} is empty")
    return values


def _whole(table: Table, what: str) -> np.ndarray | None:
    if what not in table:
        return None
    values = columns.numbers(table, what)
    bad = ~(values == np.floor(values)) | (values >= 2**31)  # NaN, too
    if bad.any():
        raise table.error(
            int(np.argmax(bad)), f"{what} {table.column(what)[int(np.argmax(bad))].as_py()!r} is no number"
        )
    return values.astype(np.int64)


class ListScorer:
    """Scores by place in a list: the first item highest, items outside of the list -inf.

    Parameters
    ----------
    rows
        int64 [B + 1]: where each user's entries begin.
    items, places
        Entries of all users: positions in the problem's items, and places (0 is the best, equal ones are ties).
    """

    def __init__(self, users: Sequence[str], rows: np.ndarray, items: np.ndarray, places: np.ndarray, n: int) -> None:
        self.at = {user: slice(rows[i], rows[i + 1]) for i, user in enumerate(users)}
        self.items, self.places, self.n_items = items, places.astype(np.float32), n

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        for row, user in zip(scores, users, strict=True):
            row[self.items[self.at[user]]] = -self.places[self.at[user]]
        return scores


def hold_against(lists: pd.DataFrame, problem: Problem, depth: int) -> tuple[ListScorer, list[str], list[str]]:
    """Compare the lists of a fold with its ranking task.

    Parameters
    ----------
    lists
        As `read` returns them.
    depth
        Items that every user's list should have.

    Returns
    -------
    tuple
        The scorer; the faults for which the lists are refused; and notes on what does not matter, or lowers metrics.
    """
    import pandas as pd

    task, items = problem.task, problem.training.items
    known = pd.Index(task.users.astype(object))
    user = known.get_indexer(pd.Index(lists["user"]))
    mine, user = lists[user >= 0], user[user >= 0]
    others = lists["user"].nunique() - mine["user"].nunique()
    item = pd.Index(items.astype(object)).get_indexer(pd.Index(mine["item"]))
    pair = user * (len(items) + 1) + item
    seen = np.concatenate([np.zeros(0, np.int64), *(u * (len(items) + 1) + s for u, s in enumerate(task.masked))])
    outside = (item < 0) | ~task.candidates[item]
    twice = mine.duplicated(["user", "item"]).to_numpy()
    missing = np.setdiff1d(np.arange(len(known)), user)
    faults = [
        _count(outside, mine, "no candidates of this fold"),
        _count(~outside & np.isin(pair, seen), mine, "masked, since their user took them before the border"),
        _count(twice, mine, "more than once in a list"),
        f"{len(missing)} of {len(known)} users have no list (the first: {known[missing[0]]!r})" if len(missing) else "",
    ]
    places = mine.groupby("user")["place"].rank(method="dense").to_numpy() - 1
    order = np.argsort(user, kind="stable")
    count = np.bincount(user, minlength=len(known))
    wanted = np.minimum(depth, task.candidates.sum() - [np.sum(task.candidates[np.unique(s)]) for s in task.masked])
    short = int((count < wanted).sum())
    notes = [
        f"left out: lists of {counted(others, 'user')} not ranked in this fold" if others else "",
        f"shorter than {depth}: {counted(short, 'list')}; what is missing counts as not found" if short else "",
    ]
    scorer = ListScorer(list(known), np.concatenate([[0], np.cumsum(count)]), item[order], places[order], len(items))
    return scorer, list(filter(None, faults)), list(filter(None, notes))


def _count(wrong: np.ndarray, lists: pd.DataFrame, what: str) -> str:
    if not wrong.any():
        return ""
    first = lists.iloc[int(np.argmax(wrong))]
    return f"{what}: {counted(int(wrong.sum()), 'item')} (the first: {first['item']!r} of user {first['user']!r})"


@dataclass(frozen=True)
class Imported(Recommender):
    """Lists that other software has made; `fit` looks up those of the seed and the border.

    Attributes
    ----------
    content
        Hash of the lists.
    scorers
        By seed and border (milliseconds UTC).
    """

    name: ClassVar[str] = PREFIX
    uses_features: ClassVar[bool] = False
    trains_epochs: ClassVar[bool] = False

    content: str = ""
    scorers: Mapping[tuple[int, int], ListScorer] = field(default_factory=dict, hash=False, compare=False)

    def options(self) -> dict[str, Any]:
        """Hash of the lists: other lists under the same name are another row."""
        return {"content": self.content}

    def fit(self, request: FitRequest) -> FitResult:
        """Look up."""
        return FitResult(self.scorers[request.seed, request.data.border])


def required(lists: Lists, folds: Sequence[int], path: Path) -> list[int]:
    """Return the seeds of lists that must hold every fold.

    Raises
    ------
    UserError
        If a fold is missing, or unknown, or seed 0 stands beside others.
    """
    seeds = sorted({seed for seed, _ in lists})
    if 0 in seeds and len(seeds) > 1:
        raise UserError(f"{path}: seed 0 marks lists that depend on none", remedy="number the seeds from 1 on")
    for seed in seeds:
        given = {fold for s, fold in lists if s == seed}
        if given != set(folds):
            found = "no column `fold`" if given == {-1} else f"fold(s) {', '.join(map(str, sorted(given)))}"
            where = f", seed {seed}" if seed else ""
            raise UserError(
                f"{path}{where}: {found}, and the protocol has folds {', '.join(map(str, folds))}",
                remedy="`bench data export` writes all of them; numbers of folds are those of its folders",
            )
    return seeds
