"""Errors shown to the user, and their exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Its metadata asks for a ray of 2023 that nothing here needs; what it imports is installed already.
INSTALL_RECBOLE = "pip install --no-deps 'recbole>=1.2.1,<1.3'"


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


class BenchWarning(UserWarning):
    """Fault that does not stop a command: the command line prints a line and ends with `exit_code` if it is not 0."""

    exit_code = 0


#: Kinds of names that `bench list` takes, as plurals.
_LISTED = ("extractor", "model", "fusion", "dataset", "protocol", "preset")


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown `name`, naming its nearest neighbours among `known`.

    Examples
    --------
    >>> str(did_you_mean("model", "sasrek", ["sasrec", "pop"]))
    "unknown model 'sasrek': did you mean 'sasrec'?"
    """
    known = sorted(known)
    as_typed = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), as_typed, n=1, cutoff=0.5)
    hint = f"did you mean {as_typed[close[0]]!r}?" if close else "known: " + ", ".join(known)
    others = nearest_names(name, known, most=40) if close else "choose one of these"
    listed = f"`bench list {kind}s` shows them all" if kind in _LISTED else others
    return UserError(f"unknown {kind} {name!r}: {hint}", remedy=listed)


def nearest_names(name: str, known: Iterable[str], most: int = 12) -> str:
    """List the known names, or of more than `most` those nearest to `name`, for an error message.

    Examples
    --------
    >>> nearest_names("bpr", ["pop", "id"]), nearest_names("bpr", [])
    ('known: id, pop', 'none is known')
    >>> nearest_names("item7", [f"item{k}" for k in range(70, 80)], most=2)
    'nearest of 10: item79, item78'
    """
    known = sorted(set(known))
    if len(known) <= most:
        return f"known: {', '.join(known)}" if known else "none is known"
    return f"nearest of {len(known)}: {', '.join(difflib.get_close_matches(name, known, n=most, cutoff=0.0))}"
