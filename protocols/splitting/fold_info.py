"""Statistics of a fold for records, tables and error messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.errors import DataError
from protocols.indexed_log import IndexedLog
from protocols.row_numbers import consecutive, distinct
from protocols.splitting.problem_builder import item_flags
from protocols.splitting.rolling import ROLES, WindowRows, utc
from protocols.wording import counted


def fitted_info(log: IndexedLog, rows: np.ndarray) -> dict[str, Any]:
    """Counts and first and last time of fitted rows."""
    taken = consecutive(rows)
    return {
        "interactions": len(rows),
        "users": int(np.count_nonzero(np.bincount(log.user[taken]))),
        "items": int(item_flags(log, taken).sum()),
        "first": utc(log.time[rows[0]]),
        "last": utc(log.time[rows[-1]]),
    }


def window_info(log: IndexedLog, rows: WindowRows, fitted: np.ndarray, border: int, end: int) -> dict[str, Any]:
    """Describe a window: rows, ranked users, targets, cold targets, and what was dropped and why.

    Returns
    -------
    dict
        interactions (rows of the window), users, targets, targets_per_user_mean, targets_per_user_median,
        cold_targets (of items without fitted rows), dropped (rows per role, see `ROLES`), and, where releases are
        known, released_in_window: the share of targets whose item was released inside the window; and, where users were
        drawn, drawn_from: how many there are.
    """
    targets = rows.of("target")
    per_user = np.bincount(log.user[targets])
    per_user = per_user[per_user > 0]
    info = {
        "interactions": len(rows.row),
        "users": len(per_user),
        "targets": len(targets),
        "targets_per_user_mean": float(per_user.mean()),
        "targets_per_user_median": float(np.median(per_user)),
        "cold_targets": int((~item_flags(log, consecutive(fitted))[log.item[targets]]).sum()),
        "dropped": {role: n for role, n in rows.counts().items() if role != ROLES[0]},
    }
    if len(left := rows.of("not_drawn")):
        info["drawn_from"] = len(per_user) + len(distinct(log.user[left]))
    if log.release is not None:
        release = log.release[log.item[targets]]
        info["released_in_window"] = float(((release >= border) & (release < end)).mean())
    return info


def release_note(log: IndexedLog, border: int, everything: bool) -> str:
    """Say that single unknown releases keep models from knowing the age of any item; "" where they do not.

    Parameters
    ----------
    border
        Milliseconds UTC.
    everything
        All items are in the problem, not only those with events before the border (candidates of unknown release are
        warm ones).
    """
    if log.release is None:
        return ""
    there = (
        np.isnan(log.release) if everything else np.isnan(log.release[item_flags(log, slice(0, log.before(border)))])
    )
    unknown = int(there.sum())
    if not unknown:
        return ""
    return (
        f"{unknown} of {len(there)} items have no release: the term by age is off for all items, in every row; and "
        "newest knows nothing of cold items"
    )


def require_rows(
    log: IndexedLog, where: str, rows: WindowRows, fitted: np.ndarray, border: int, end: int, knobs: dict[str, Any]
) -> None:
    """Refuse a window without rows to fit on or users to rank.

    Parameters
    ----------
    where
        Names the fold and the window.
    knobs
        Options of the protocol, for the message.

    Raises
    ------
    DataError
        Names the numbers.
    """
    window = f"{where} ({utc(border)} to {utc(end)})"
    if not len(fitted):
        raise DataError(
            f"{window}: no rows to fit on, of {log.before(border)} before it (train_window={knobs['train_window']}, "
            f"gap={knobs['gap']}, k_core={knobs['k_core']})",
            remedy="use a longer train_window, a shorter gap or a smaller k_core",
        )
    if not len(rows.of("target")):
        found, short = distinct(log.user[rows.row]), len(distinct(log.user[rows.of("short_history")]))
        raise DataError(
            f"{window} has no user to rank: {counted(len(rows.row), 'row')} by {counted(len(found), 'user')}, of which "
            f"{short} with fewer than {counted(knobs['min_history'], 'event')} before, and "
            f"{counted(rows.counts()['repeat'], 'row')} with items that the user had",
            remedy="use longer windows or fewer folds, or a smaller min_history",
        )
