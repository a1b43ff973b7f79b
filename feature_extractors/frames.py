"""Frame policies: which frames of a clip a model sees. Named, and part of the feature's key.

To add one: write a frozen dataclass with `key` and `indices`, and enter it in `POLICIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protocols.errors import UserError, did_you_mean


class FramePolicy(Protocol):
    """Chooses frames by their position among the *decoded* frames (headers lie about how many there are)."""

    @property
    def key(self) -> str:
        """Canonical spelling, for feature keys; `parse(policy.key) == policy`."""
        ...

    def indices(self, total: int) -> list[int]:
        """Positions of the chosen frames, ascending, each in 0..total-1.

        Parameters
        ----------
        total
            Number of decoded frames, at least 1.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """`uniform:N`: the middle frames of N equal parts of the clip; frames repeat when the clip has fewer than N.

    Examples
    --------
    >>> Uniform(4).indices(16), Uniform(4).indices(2)
    ([2, 6, 10, 14], [0, 0, 1, 1])
    """

    count: int

    @property
    def key(self) -> str:
        """`uniform:N`."""
        return f"uniform:{self.count}"

    def indices(self, total: int) -> list[int]:
        """Positions of the middle frames."""
        return [(2 * k + 1) * total // (2 * self.count) for k in range(self.count)]


def _uniform(argument: str) -> Uniform:
    if not argument.isdecimal() or not 0 < int(argument) <= 1024:
        raise UserError(f"frame policy 'uniform:{argument}': expected uniform:N with N frames, 1 to 1024")
    return Uniform(int(argument))


POLICIES: dict[str, Callable[[str], FramePolicy]] = {"uniform": _uniform}


def parse(text: str) -> FramePolicy:
    """Turn `uniform:8` into a policy.

    Raises
    ------
    UserError
        If the name is unknown (did you mean ...) or its argument is not valid.
    """
    name, _, argument = text.partition(":")
    if name not in POLICIES:
        raise did_you_mean("frame policy", name, POLICIES)
    return POLICIES[name](argument)
