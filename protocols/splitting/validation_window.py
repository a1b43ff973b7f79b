"""Length of the validation window: early stopping must be left enough rows to fit on."""

from __future__ import annotations

from collections.abc import Callable

from protocols.splitting.rolling import DAY

HOUR = DAY // 24
#: Least share of the rows before a border that lies before its validation window.
MIN_SHARE = 0.5


def longest(does: Callable[[int], bool], below: int) -> int | None:
    """Find the longest window below a length that does: whole days, then 12, 6, 3, 2 or 1 hours; None if none does.

    Parameters
    ----------
    does
        From milliseconds to whether this window leaves enough.
    below
        Milliseconds.
    """
    days = range((below - 1) // DAY * DAY, 0, -DAY)
    hours = (n * HOUR for n in (12, 6, 3, 2, 1) if n * HOUR < below)
    return next((span for span in (*days, *hours) if does(span)), None)


def written(span: int) -> str:
    """Write a duration as an option.

    Examples
    --------
    >>> written(7 * DAY), written(DAY // 2)
    ('7d', '12h')
    """
    return f"{span // DAY}d" if span % DAY == 0 else f"{span // HOUR}h"


def note(kept: int, asked: int, fitted: int, rows: int, remedy: int | None) -> str:
    """Say that a window was shortened, or leaves too little; empty where it is as asked for and leaves enough.

    Parameters
    ----------
    kept, asked
        Milliseconds: the window that is used, and the one of the protocol's options.
    fitted, rows
        Rows before the kept window and before the border.
    remedy
        The longest window that would leave enough, if there is one.
    """
    left = f"{fitted / max(rows, 1):.0%} of the rows to fit on ({fitted:,} of {rows:,})"
    if kept != asked:
        return (
            f"the log is too short for a validation window of {written(asked)}, which would leave under "
            f"{MIN_SHARE:.0%} of the rows to fit on: it is {written(kept)} here and leaves {left}"
        )
    if fitted >= MIN_SHARE * rows:
        return ""
    shorter = f"protocol.validation_window={written(remedy)} would leave half" if remedy else "no window leaves half"
    return f"the validation window of {written(asked)} leaves early stopping {left}; {shorter}"
