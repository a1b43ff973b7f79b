"""Construction of a ranking problem from rows of the log."""

from __future__ import annotations

from typing import Literal

import numpy as np

from protocols.errors import DataError
from protocols.indexed_log import IndexedLog
from protocols.ranking_problem import Problem, RankingTask, TrainingData
from protocols.row_numbers import consecutive

Candidates = Literal["released", "warm", "catalogue"]


def item_flags(log: IndexedLog, rows: np.ndarray | slice) -> np.ndarray:
    """Bool [I]: items with an event in these rows."""
    return np.bincount(log.item[rows], minlength=len(log.items)) > 0


def candidate_flags(log: IndexedLog, policy: Candidates, warm: np.ndarray, end: int) -> np.ndarray:
    """Select the items that may be recommended in a window that ends at `end`.

    Parameters
    ----------
    policy
        `released`: released before the window's end, or, of unknown release, warm; `warm`: with an event in the fitted
        rows; `catalogue`: all.
    warm
        Bool [I].
    end
        Milliseconds UTC.

    Returns
    -------
    np.ndarray
        Bool [I]. No policy looks at events at or after the border.

    Raises
    ------
    DataError
        If `released` is asked for and there are no releases.
    """
    if policy == "catalogue":
        return np.ones(len(log.items), dtype=bool)
    if policy == "warm":
        return warm.copy()
    if log.release is None:
        raise DataError(
            "candidates=released needs a `release` column in items", remedy="use --set protocol.candidates=warm"
        )
    return np.where(np.isnan(log.release), warm, log.release < end)


def build_problem(
    log: IndexedLog,
    *,
    fitted: np.ndarray,
    targets: np.ndarray,
    border: int,
    end: int,
    policy: Candidates,
    successive: bool = False,
) -> Problem:
    """Assemble the problem of one border.

    The items are the fitted ones (warm), then every other item of an event before the border and every other
    candidate (cold). Users of the window decide nothing here, so the item space is the same whatever the future holds.

    Parameters
    ----------
    fitted
        int64 [R]: rows to fit on, ascending.
    targets
        int64 [T]: rows of the window that are to be found.
    border, end
        Milliseconds UTC: histories end before `border`; `released` candidates were released before `end`.
    successive
        One row of the task for each target, after the user's own events of the window up to it.
    """
    limit = log.before(border)
    candidates = candidate_flags(log, policy, item_flags(log, consecutive(fitted)), end)
    training, codes, position = training_data(log, fitted, item_flags(log, slice(0, limit)) | candidates, border, end)
    by_user = targets[np.argsort(log.user[targets], kind="stable")]
    if successive:
        task = _successive(log, position, by_user, candidates[codes])
    else:
        per_user = np.bincount(log.user[targets], minlength=len(log.users))
        ranked = np.flatnonzero(per_user)
        begin, counts = log.spans_of(ranked, limit)
        taken_by = position[log.item_by_user]
        task = RankingTask(
            users=log.users[ranked],
            histories=[taken_by[a:b] for a, b in zip(begin.tolist(), (begin + counts).tolist(), strict=True)],
            candidates=candidates[codes],
            targets=split_by(position[log.item[by_user]], per_user[ranked]),
        )
    return Problem(training, task)


def training_data(
    log: IndexedLog, fitted: np.ndarray, items: np.ndarray, border: int, end: int
) -> tuple[TrainingData, np.ndarray, np.ndarray]:
    """Number the items and users of a problem and collect its fitted rows.

    Parameters
    ----------
    fitted
        int64 [R]: rows to fit on, ascending.
    items
        Bool [I]: items of the problem besides those of the fitted rows.
    border, end
        Milliseconds UTC, of the window.

    Returns
    -------
    tuple
        The training data, the item codes [M] of its items, and the position of every item code in them: int64 [I], -1
        for an item that is not in the problem.
    """
    taken = consecutive(fitted)
    warm = item_flags(log, taken)
    codes = np.concatenate([np.flatnonzero(warm), np.flatnonzero(items & ~warm)])
    position = np.full(len(log.items), -1, dtype=np.int64)
    position[codes] = np.arange(len(codes))
    user = log.user[taken]
    users = np.flatnonzero(np.bincount(user, minlength=len(log.users)))
    number = np.zeros(len(log.users), dtype=np.int64)
    number[users] = np.arange(len(users))
    item, timestamp = position[log.item[taken]], log.time[taken]
    timestamp.flags.writeable = False  # it may be a view of the log
    training = TrainingData(
        items=log.items[codes],
        n_warm=int(warm.sum()),
        users=log.users[users],
        user=number[user],
        item=item,
        timestamp=timestamp,
        border=border,
        release=_release(log, codes, item, timestamp, border),
        end=end,
        dated=log.release is not None and not np.isnan(log.release[codes]).any(),
    )
    return training, codes, position


def _successive(log: IndexedLog, position: np.ndarray, targets: np.ndarray, candidates: np.ndarray) -> RankingTask:
    """One row a target (rows ordered by user, then canonically): the history is everything of its user before it.

    An item that first appears inside the window and is no candidate has no place in the problem, so a history cannot
    hold it: the item space must not depend on the future.
    """
    ranked, which = np.unique(log.user[targets], return_inverse=True)
    rows, counts = log.rows_of(ranked, int(targets.max(initial=-1)) + 1)
    inside = position[log.item[rows]] >= 0
    rows, owner = rows[inside], np.repeat(np.arange(len(ranked)), counts)[inside]
    start = np.searchsorted(owner, which, side="left")
    # rows of one user ascend, so that (owner, row) is sorted and the rows before a target are a slice
    span = len(log.item) + 1
    stop = np.searchsorted(owner * span + rows, which * span + targets, side="left")
    items = position[log.item[rows]]
    return RankingTask(
        users=log.users[ranked][which],
        histories=[items[a:b] for a, b in zip(start, stop, strict=True)],
        candidates=candidates,
        targets=list(position[log.item[targets]][:, None]),
    )


def _release(log: IndexedLog, codes: np.ndarray, item: np.ndarray, timestamp: np.ndarray, border: int) -> np.ndarray:
    """Compute the release of each item of a problem, see `TrainingData.release`."""
    out = np.full(len(codes), border, dtype=np.int64)
    out[item[::-1]] = timestamp[::-1]  # rows are in order of time: the first event is written last
    if log.release is not None:
        known = log.release[codes]
        dated = ~np.isnan(known)
        warm = np.zeros(len(codes), dtype=bool)
        warm[item] = True
        first = np.where(warm, out, np.iinfo(np.int64).max)
        out[dated] = np.minimum(known[dated].astype(np.int64), first[dated])
    return out


def split_by(values: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Cut an array into consecutive pieces of the given lengths."""
    ends = np.cumsum(counts).tolist()
    return [values[a:b] for a, b in zip([0, *ends], ends, strict=False)]
