"""From rows to a problem: the item space, what is learned from, who is ranked among what."""

from __future__ import annotations

from typing import Literal

import numpy as np

from protocols.errors import DataError
from protocols.indexed import IndexedLog
from protocols.problem import Problem, RankingTask, TrainingData

Candidates = Literal["released", "warm", "catalogue"]


def item_flags(log: IndexedLog, rows: np.ndarray | slice) -> np.ndarray:
    """Bool [I]: items with an event in these rows."""
    flags = np.zeros(len(log.items), dtype=bool)
    flags[log.item[rows]] = True
    return flags


def candidate_flags(log: IndexedLog, policy: Candidates, warm: np.ndarray, end: int) -> np.ndarray:
    """Which items may be recommended in a window that ends at `end`.

    Parameters
    ----------
    policy
        `released`: released before the window's end; `warm`: with an event in the fitted rows; `catalogue`: all.
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
        If `released` is asked for and releases are missing; names the first such item.
    """
    if policy == "catalogue":
        return np.ones(len(log.items), dtype=bool)
    if policy == "warm":
        return warm.copy()
    remedy = "use --set protocol.candidates=warm"
    if log.release is None:
        raise DataError("candidates=released needs a `release` column in items", remedy=remedy)
    unknown = np.flatnonzero(np.isnan(log.release))
    if len(unknown):
        raise DataError(
            f"{len(unknown)} item(s) have no release, the first is {log.items[unknown[0]]!r}: candidates=released "
            "cannot tell when they appeared",
            remedy=remedy,
        )
    return log.release < end


def build_problem(
    log: IndexedLog, *, fitted: np.ndarray, targets: np.ndarray, border: int, end: int, policy: Candidates
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
    """
    limit = log.before(border)
    warm = item_flags(log, fitted)
    candidates = candidate_flags(log, policy, warm, end)
    cold = (item_flags(log, slice(0, limit)) | candidates) & ~warm
    codes = np.concatenate([np.flatnonzero(warm), np.flatnonzero(cold)])
    position = np.full(len(log.items), -1, dtype=np.int64)
    position[codes] = np.arange(len(codes))

    users, user = np.unique(log.user[fitted], return_inverse=True)
    item, timestamp = position[log.item[fitted]], log.time[fitted]
    training = TrainingData(
        items=log.items[codes],
        n_warm=int(warm.sum()),
        users=log.users[users],
        user=user.astype(np.int64, copy=False),
        item=item,
        timestamp=timestamp,
        border=border,
        release=_release(log, codes, item, timestamp, border),
    )
    ranked = np.unique(log.user[targets])
    rows, counts = log.rows_of(ranked, limit)
    by_user = targets[np.argsort(log.user[targets], kind="stable")]
    task = RankingTask(
        users=log.users[ranked],
        histories=split_by(position[log.item[rows]], counts),
        candidates=candidates[codes],
        targets=split_by(position[log.item[by_user]], np.bincount(log.user[by_user], minlength=len(log.users))[ranked]),
    )
    return Problem(training, task)


def _release(log: IndexedLog, codes: np.ndarray, item: np.ndarray, timestamp: np.ndarray, border: int) -> np.ndarray:
    """From when on each item of a problem could be taken, see `TrainingData.release`."""
    out = np.full(len(codes), border, dtype=np.int64)
    out[item[::-1]] = timestamp[::-1]  # rows are in order of time: the first event is written last
    if log.release is not None:
        known = log.release[codes]
        told = ~np.isnan(known)
        warm = np.zeros(len(codes), dtype=bool)
        warm[item] = True
        first = np.where(warm, out, np.iinfo(np.int64).max)
        out[told] = np.minimum(known[told].astype(np.int64), first[told])
    return out


def split_by(values: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Cut an array into consecutive pieces of the given lengths."""
    return np.split(values, np.cumsum(counts)[:-1]) if len(counts) else []
