"""Counts in messages and tables."""

from __future__ import annotations


def counted(count: int, noun: str, form: str = "") -> str:
    """Write a count with its noun, in the singular for one.

    Parameters
    ----------
    noun
        Regular, in the singular; words before it stay as they are.
    form
        Format of the number, such as `,`.

    Examples
    --------
    >>> counted(1, "fold"), counted(0, "leak check"), counted(2, "process"), counted(1200, "user", ",")
    ('1 fold', '0 leak checks', '2 processes', '1,200 users')
    """
    ending = "" if count == 1 else "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{count:{form}} {noun}{ending}"
