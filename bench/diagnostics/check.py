"""Outcome of a check of a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Outcome of one check.

    Attributes
    ----------
    name
        Subject of the check.
    ok
        Whether it passed.
    found
        Measured state.
    remedy
        Advice; may be given although the check passed.
    code
        Exit code of a failure: 2 if the user can act, 1 if the fault is in this software.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    code: int = 2
