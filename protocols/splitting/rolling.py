"""Rolling split: borders from the calendar, fitted rows, and the role of every row of a window.

Everything here is row indices and masks over an `IndexedLog`; nothing is copied out of the log.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np

from protocols.errors import DataError, UserError
from protocols.hashing import drawn
from protocols.indexed_log import IndexedLog
from protocols.row_numbers import distinct, rows_between

DAY = 86_400_000
_UNITS = {"h": 3_600_000, "d": DAY, "w": 7 * DAY}

Targets = Literal["all", "first", "successive"]

ROLES = ("target", "repeat", "again", "later", "short_history", "not_drawn")
"""Roles of the rows of a test window.

`target`: to be found. `repeat`: the user had the item before the border. `again`: a second event of a target inside
the window. `later`: a new item after the first one, with `targets=first`. `short_history`: the user has fewer than
`min_history` events before the border. `not_drawn`: to be found, by a user who is not in the sample that is ranked.
"""


def milliseconds(text: str, where: str) -> int:
    """Read a duration such as `7d`, `12h` or `2w`.

    Raises
    ------
    UserError
        If the text is no duration.

    Examples
    --------
    >>> milliseconds("7d", "window") // DAY
    7
    """
    match = re.fullmatch(r"(\d+)\s*([hdw])", text.strip())
    if not match:
        raise UserError(f"{where}={text!r} is no duration", remedy="write a whole number and h, d or w, such as 7d")
    return int(match[1]) * _UNITS[match[2]]


def utc(time: int) -> str:
    """Milliseconds as UTC text to the second.

    Examples
    --------
    >>> utc(0)
    '1970-01-01T00:00:00Z'
    """
    return f"{np.datetime_as_string(np.datetime64(int(time), 'ms'), unit='s')}Z"


def _days(span: int) -> str:
    return f"{span / DAY:.4g} days"


class Borders(NamedTuple):
    """Times of one fold, milliseconds UTC.

    The validation window is [validation_border, validation_end), the test window [border, end). The two are apart by
    the gap.
    """

    validation_border: int
    validation_end: int
    border: int
    end: int


def rolling_borders(
    time: np.ndarray, *, window: int, stride: int, folds: int, validation_window: int, gap: int = 0
) -> list[Borders]:
    """Place `folds` windows so that the last one ends with the last event's UTC day.

    If the last event was on Monday at 01:25, the last window includes the whole Monday.

    Parameters
    ----------
    time
        int64 [N], non-decreasing: times of the events, milliseconds UTC.
    window, stride, validation_window, gap
        Milliseconds.
    folds
        Number of windows; the earliest comes first.

    Raises
    ------
    DataError
        If the log is empty, all its timestamps are equal, or it is too short to leave something to fit on.
    """
    if len(time) == 0:
        raise DataError("the log has no interactions: there is nothing to split")
    first, last = int(time[0]), int(time[-1])
    if first == last:
        raise DataError(
            f"all {len(time)} timestamps are equal ({utc(first)}): a split by time needs times",
            remedy="check the timestamp column (milliseconds UTC)",
        )
    stop = (last // DAY + 1) * DAY
    out = []
    for back in reversed(range(folds)):
        end = stop - back * stride
        border = end - window
        out.append(Borders(border - gap - validation_window, border - gap, border, end))
    if first >= out[0].validation_border - gap:
        needed = (folds - 1) * stride + window + 2 * gap + validation_window
        raise DataError(
            f"the log is too short: it spans {_days(stop - first)} ({utc(first)} to {utc(stop)}), but {folds} test "
            f"window(s) of {_days(window)}, stride {_days(stride)}, gap {_days(gap)} and a validation window of "
            f"{_days(validation_window)} take {_days(needed)} and leave nothing before to fit on",
            remedy="use fewer folds or shorter windows: --set protocol.folds=1 --set protocol.window=1d ...",
        )
    return out


def k_core(user: np.ndarray, item: np.ndarray, k: int) -> np.ndarray:
    """Select the rows whose user and item keep at least `k` rows each, iterated until nothing changes.

    Returns
    -------
    np.ndarray
        Bool [R].
    """
    keep = np.ones(len(user), dtype=bool)
    while k > 1:
        users, items = np.bincount(user[keep]), np.bincount(item[keep])
        drop = np.flatnonzero(keep)
        drop = drop[(users[user[drop]] < k) | (items[item[drop]] < k)]
        if not len(drop):
            break
        keep[drop] = False
    return keep


def fitted_rows(
    log: IndexedLog, border: int, *, gap: int = 0, train_window: int | None = None, k: int = 1
) -> np.ndarray:
    """Select the rows to fit on: before `border - gap`, not older than `train_window`, in the k-core of those.

    Returns
    -------
    np.ndarray
        int64 [R], ascending. The k-core is computed on these rows alone, so it cannot see beyond the border.
    """
    stop = border - gap
    start = 0 if train_window is None else log.before(stop - train_window)
    rows = rows_between(start, log.before(stop))
    return rows[k_core(log.user[rows], log.item[rows], k)] if k > 1 else rows


class WindowRows(NamedTuple):
    """Rows of one window and their roles: `row` int64 [R] and `role` int8 [R], positions in `ROLES`."""

    row: np.ndarray
    role: np.ndarray

    def of(self, role: str) -> np.ndarray:
        """Rows with this role."""
        return self.row[self.role == ROLES.index(role)]

    def counts(self) -> dict[str, int]:
        """Rows per role; of the last one where users were drawn."""
        counts = zip(ROLES, np.bincount(self.role, minlength=len(ROLES)).tolist(), strict=True)
        return {name: n for name, n in counts if n or name != ROLES[-1]}

    def of_drawn_users(self, log: IndexedLog, most: int) -> WindowRows:
        """Keep the targets of at most so many users, drawn with a seed; 0: of all."""
        if not most or most >= len(users := distinct(log.user[self.of("target")])):
            return self
        kept = np.zeros(len(log.users), dtype=bool)
        kept[users[drawn(log.users[users], most)]] = True
        out = (self.role == ROLES.index("target")) & ~kept[log.user[self.row]]
        return WindowRows(self.row, np.where(out, np.int8(ROLES.index("not_drawn")), self.role))


def window_rows(
    log: IndexedLog, border: int, end: int, *, min_history: int = 1, targets: Targets = "all"
) -> WindowRows:
    """Assign a role to each row of [border, end), see `ROLES`.

    WARNING: an item the user had before the border is never a target, however long ago it was.
    """
    start, stop = log.before(border), log.before(end)
    row = np.arange(start, stop)
    history = np.bincount(log.user[:start], minlength=len(log.users))
    first = log.first_row[start:stop]
    role = np.zeros(len(row), dtype=np.int8)
    role[first < row] = ROLES.index("again")
    role[first < start] = ROLES.index("repeat")
    role[history[log.user[row]] < min_history] = ROLES.index("short_history")
    if targets == "first":
        found = np.flatnonzero(role == 0)
        _, keep = np.unique(log.user[row[found]], return_index=True)
        role[np.delete(found, keep)] = ROLES.index("later")
    return WindowRows(row, role)
