"""The errors that reach a user, and the exit code each one means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Something went wrong in a way we can name; the command line prints it without a traceback.

    Parameters
    ----------
    message
        What is wrong: names the file, the row, the value.
    remedy
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UserError(BenchError):
    """The user's mistake (a wrong name, a bad file, a missing option): exit code 2."""

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
