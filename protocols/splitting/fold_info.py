"""Statistics of a fold for records, tables and error messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.errors import DataError
from protocols.indexed_log import IndexedLog
from protocols.row_numbers import consecutive
from protocols.splitting.problem_builder import item_flags
from protocols.splitting.rolling import ROLES, WindowRows, utc


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
        known, released_in_window: the share of targets whose item was released inside the window.
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
    if log.release is not None:
        release = log.release[log.item[targets]]
        info["released_in_window"] = float(((release >= border) & (release < end)).mean())
    return info


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
        short = len(np.unique(log.user[rows.of("short_history")]))
        raise DataError(
            f"{window} has no user to rank: {len(rows.row)} rows by {len(np.unique(log.user[rows.row]))} users, of "
            f"which {short} users have fewer than {knobs['min_history']} events before, and "
            f"{rows.counts()['repeat']} rows repeat items the user had",
            remedy="use longer windows or fewer folds, or a smaller min_history",
        )
