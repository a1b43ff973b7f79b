"""Errors shown to the user, and their exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Error with a known cause; the command line prints it without a traceback.

    Parameters
    ----------
    message
        The fault, with file, row and value.
    remedy
        The action that mends it.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UserError(BenchError):
    """Error of the user (a wrong name, a bad file, a missing option): exit code 2."""

    exit_code = 2


class DataError(UserError):
    """Input data that cannot be used as it is: names the file and the row."""


class CheckpointError(UserError):
    """A checkpoint directory with a missing file, or with missing or unexpected weight keys."""


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown `name`, naming its nearest neighbours among `known`.

    Examples
    --------
    >>> str(did_you_mean("model", "sasrek", ["sasrec", "pop"]))
    "unknown model 'sasrek': did you mean 'sasrec'?"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)
    # a kind of several words (option of sasrec) has no list of its own
    listed = f"`bench list {kind}s` shows them all" if " " not in kind else "`bench list KIND` shows options, too"
    return UserError(f"unknown {kind} {name!r}: {hint}", remedy=listed)


def what_there_is(name: str, known: Iterable[str], most: int = 12) -> str:
    """Say what there is in place of `name`: everything, or of more than `most` those that look like it.

    Examples
    --------
    >>> what_there_is("bpr", ["pop", "id"]), what_there_is("bpr", [])
    ('there are: id, pop', 'there are none')
    >>> what_there_is("item7", [f"item{k}" for k in range(70, 90)], most=2)
    'of 20 the nearest: item79, item78'
    """
    known = sorted(set(known))
    if len(known) <= most:
        return f"there are: {', '.join(known)}" if known else "there are none"
    return f"of {len(known)} the nearest: {', '.join(difflib.get_close_matches(name, known, n=most, cutoff=0.0))}"
