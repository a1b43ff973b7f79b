"""Frame policies: which frames of a clip a model sees. Named, and part of the feature's key.

| spelling | frames |
|---|---|
| `uniform:8` | the middle frames of 8 equal parts of the clip |
| `first:30s`, `first:30s/16` | the same of its first 30 seconds; 8 frames unless said otherwise |
| `fps:0.5` | the frame on show at 0 s, 2 s, 4 s, ... |

Every policy ends after `MAX_SECONDS` of a clip; `uniform:8@60s` and `uniform:8@all` set another end.
To add one: write a frozen dataclass with `key`, `seconds` and `indices`, and enter it in `POLICIES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from protocols.errors import UserError, did_you_mean

# What of a long clip is looked at, unless an option says otherwise.
MAX_SECONDS = 240.0
MAX_FRAMES = 1024
# Containers round timestamps to milliseconds.
ROUNDING = 1e-3


class TooManyFramesError(Exception):
    """A clip of which a policy wants more than `MAX_FRAMES`."""


class FramePolicy(Protocol):
    """Chooses frames among the *decoded* ones by position and time (headers lie about both)."""

    @property
    def seconds(self) -> float | None:
        """How much of a clip is decoded, from its first frame; None: all of it."""
        ...

    @property
    def key(self) -> str:
        """Canonical spelling, for feature keys; `parse(policy.key) == policy`."""
        ...

    def indices(self, times: np.ndarray) -> list[int]:
        """Positions of the chosen frames, ascending, each in 0..len(times)-1.

        Parameters
        ----------
        times
            [total] seconds since the first frame of every decoded frame before `seconds`; at least one.

        Raises
        ------
        TooManyFramesError
            If they are more than `MAX_FRAMES`.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """`uniform:N`: the middle frames of N equal parts of the clip; frames repeat when the clip has fewer than N.

    Parts are equal in their number of frames.

    Examples
    --------
    >>> Uniform(4).indices(np.arange(16)), Uniform(4).indices(np.arange(2))
    ([2, 6, 10, 14], [0, 0, 1, 1])
    """

    count: int
    seconds: float | None = MAX_SECONDS

    @property
    def key(self) -> str:
        """`uniform:N`, with the end of it unless it is the usual one."""
        return f"uniform:{self.count}{_end(self.seconds)}"

    def indices(self, times: np.ndarray) -> list[int]:
        """Positions of the middle frames."""
        return [(2 * k + 1) * len(times) // (2 * self.count) for k in range(self.count)]


@dataclass(frozen=True)
class First:
    """`first:30s/N`: `uniform:N` of the first seconds only."""

    seconds: float
    count: int = 8

    @property
    def key(self) -> str:
        """`first:SECONDSs/N`."""
        return f"first:{self.seconds:g}s/{self.count}{'@all' if self.seconds > MAX_SECONDS else ''}"

    def indices(self, times: np.ndarray) -> list[int]:
        """Positions of the middle frames."""
        return Uniform(self.count).indices(times)


@dataclass(frozen=True)
class Fps:
    """`fps:F`: the frame on show every 1/F seconds, from the first frame to the last; frames repeat in gaps.

    Examples
    --------
    >>> Fps(2.0).indices(np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25]))
    [0, 2, 4]
    """

    rate: float
    seconds: float | None = MAX_SECONDS

    @property
    def key(self) -> str:
        """`fps:F`, with the end of it unless it is the usual one."""
        return f"fps:{self.rate:g}{_end(self.seconds)}"

    def indices(self, times: np.ndarray) -> list[int]:
        """Positions of the frames on show."""
        # Damaged files may jump back in time.
        shown = np.maximum.accumulate(np.asarray(times, dtype=np.float64))
        count = math.floor((shown[-1] + ROUNDING) * self.rate) + 1
        if count > MAX_FRAMES:
            remedy = "lower the rate, or end earlier with max_seconds"
            raise TooManyFramesError(f"fps:{self.rate:g} wants {count} frames, at most {MAX_FRAMES} can be; {remedy}")
        at = np.searchsorted(shown, np.arange(count) / self.rate + ROUNDING, side="right") - 1
        return [int(index) for index in at]


def _end(seconds: float | None) -> str:
    return "" if seconds == MAX_SECONDS else "@all" if seconds is None else f"@{seconds:g}s"


def _uniform(argument: str, seconds: float | None) -> Uniform:
    count = _count(argument)
    if count is None:
        raise UserError(f"frame policy 'uniform:{argument}': expected uniform:N with N frames, 1 to {MAX_FRAMES}")
    return Uniform(count, seconds)


def _first(argument: str, seconds: float | None) -> First:
    length, _, frames = argument.partition("/")
    first, count = _number(length.removesuffix("s")), _count(frames) if "/" in argument else First.count
    if first is None or count is None:
        usage = f"expected first:SECONDSs or first:SECONDSs/N with N frames, 1 to {MAX_FRAMES}, as in first:30s/16"
        raise UserError(f"frame policy 'first:{argument}': {usage}")
    return First(min(first, seconds or first), count)


def _fps(argument: str, seconds: float | None) -> Fps:
    rate = _number(argument)
    if rate is None or rate > 240:
        raise UserError(f"frame policy 'fps:{argument}': expected fps:F with F frames per second, above 0, at most 240")
    return Fps(rate, seconds)


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) and 0 < int(text) <= MAX_FRAMES else None


def _number(text: str) -> float | None:
    """Return a positive number, rounded to what its canonical spelling keeps."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        return None
    return float(f"{float(text):g}") or None


POLICIES: dict[str, Callable[[str, float | None], FramePolicy]] = {"uniform": _uniform, "first": _first, "fps": _fps}

EXAMPLES = ("uniform:8", "first:30s/8", "fps:1")


def parse(text: str, max_seconds: float | None = MAX_SECONDS) -> FramePolicy:
    """Turn `uniform:8`, `first:30s/16`, `fps:1` or one with an end, `uniform:8@60s`, into a policy.

    Parameters
    ----------
    text
        A spelling of a policy; an end in it outweighs `max_seconds`.
    max_seconds
        Frames from this time on are neither decoded nor chosen; None: the whole clip.

    Raises
    ------
    UserError
        If the name is unknown (did you mean ...) or its argument is not valid.
    """
    chosen, at, end = text.partition("@")
    name, _, argument = chosen.partition(":")
    if name not in POLICIES:
        raise UserError(str(did_you_mean("frame policy", name, POLICIES)), remedy=f"such as {', '.join(EXAMPLES)}")
    if at:
        max_seconds = None if end == "all" else _number(end.removesuffix("s"))
        if max_seconds is None and end != "all":
            raise UserError(f"frame policy {text!r}: expected seconds or 'all' after '@', as in {chosen}@60s")
    elif max_seconds is not None:
        given, max_seconds = max_seconds, _number(f"{max_seconds:g}")
        if max_seconds is None:
            raise UserError(f"max_seconds={given}: expected 0.001 to 99999 seconds, in thousandths")
    return POLICIES[name](argument, max_seconds)
