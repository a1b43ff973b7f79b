"""Frame policies: named rules that choose the frames of a clip; part of a feature's key.

| spelling | frames |
|---|---|
| `uniform:8` | the middle frames of 8 equal parts of the clip |
| `first:30s`, `first:30s/16` | the same of its first 30 seconds; 8 frames unless said otherwise |
| `fps:0.5` | the frame displayed at 0 s, 2 s, 4 s, ... |
| `at:0+12+40` | the frames at these positions, from 0; the last frame for those behind the end |
| `clip-topk:4`, `clip-topk:4/20` | of the frames of `uniform:20` the 4 with the highest CLIP similarity to the title |

`clip-topk` needs more than the clip: `pipeline.frame_selection` resolves it; items without a title get no frames.

Every policy ends after `MAX_SECONDS` of a clip; `uniform:8@60s` and `uniform:8@all` set another end.
To add one: write a frozen dataclass with `key`, `seconds` and `indices`, and enter it in `POLICIES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from protocols.errors import UserError, did_you_mean

# Decoded seconds of a long clip, unless an option says otherwise.
MAX_SECONDS = 240.0
MAX_FRAMES = 1024
# Containers round timestamps to milliseconds.
ROUNDING = 1e-3


class TooManyFramesError(Exception):
    """Error for a clip of which a policy chooses more than `MAX_FRAMES`."""


class FramePolicy(Protocol):
    """Choice of frames among the *decoded* ones by position and time (headers are wrong about both)."""

    @property
    def seconds(self) -> float | None:
        """Decoded duration from the first frame; None: the whole clip."""
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
        """`uniform:N`, with its end unless that is the default."""
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
    """`fps:F`: the frame displayed every 1/F seconds, from the first frame to the last; frames repeat in gaps.

    Examples
    --------
    >>> Fps(2.0).indices(np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25]))
    [0, 2, 4]
    """

    rate: float
    seconds: float | None = MAX_SECONDS

    @property
    def key(self) -> str:
        """`fps:F`, with its end unless that is the default."""
        return f"fps:{self.rate:g}{_end(self.seconds)}"

    def indices(self, times: np.ndarray) -> list[int]:
        """Positions of the displayed frames."""
        # Damaged files may jump back in time.
        shown = np.maximum.accumulate(np.asarray(times, dtype=np.float64))
        count = math.floor((shown[-1] + ROUNDING) * self.rate) + 1
        if count > MAX_FRAMES:
            remedy = "lower the rate, or end earlier with max_seconds"
            raise TooManyFramesError(f"fps:{self.rate:g} wants {count} frames, at most {MAX_FRAMES} can be; {remedy}")
        at = np.searchsorted(shown, np.arange(count) / self.rate + ROUNDING, side="right") - 1
        return [int(index) for index in at]


@dataclass(frozen=True)
class At:
    """`at:P+Q+...`: the frames at given positions, ascending; the last frame for those behind the end of the clip.

    Examples
    --------
    >>> At((0, 12, 40)).indices(np.arange(16))
    [0, 12, 15]
    """

    positions: tuple[int, ...]
    seconds: float | None = MAX_SECONDS

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.positions)

    @property
    def key(self) -> str:
        """`at:P+Q+...`, with its end unless that is the default."""
        return f"at:{'+'.join(map(str, self.positions))}{_end(self.seconds)}"

    def indices(self, times: np.ndarray) -> list[int]:
        """Positions, none of them behind the end."""
        return [min(position, len(times) - 1) for position in self.positions]


@dataclass(frozen=True)
class ClipTopK:
    """`clip-topk:K/N`: of the frames of `uniform:N` the K most similar to the item's title by CLIP, in time order.

    The recipe of CVA (arXiv 2605.08810), with N = 20; VaQuitA (arXiv 2312.02310) ranks frames against a question. It is
    no `FramePolicy`: the clip alone does not decide the frames.
    """

    count: int
    of: int = 20
    seconds: float | None = MAX_SECONDS

    @property
    def key(self) -> str:
        """`clip-topk:K/N`, with its end unless that is the default."""
        return f"clip-topk:{self.count}/{self.of}{_end(self.seconds)}"

    @property
    def candidates(self) -> Uniform:
        """Frames to choose among."""
        return Uniform(self.of, self.seconds)

    def choose(self, positions: Sequence[int], similarity: np.ndarray) -> list[int]:
        """Return the positions of the K most similar candidates, ascending; of equal ones the earliest.

        Parameters
        ----------
        positions
            [N] of the candidates, ascending; some more than once where the clip has fewer frames than N.
        similarity
            [N] cosines between candidate and title.

        Returns
        -------
        list
            [K], without repetition where the candidates are K frames at least; else all of these, repeated evenly.

        Examples
        --------
        >>> ClipTopK(2, 4).choose([3, 9, 15, 21], np.array([0.1, 0.4, 0.2, 0.3]))
        [9, 21]
        """
        known, first = np.unique(np.asarray(positions), return_index=True)
        if len(known) <= self.count:
            chosen = Uniform(self.count).indices(known)
        else:
            chosen = sorted(np.argsort(-similarity[first], kind="stable")[: self.count].tolist())
        return [int(known[at]) for at in chosen]


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


def _at(argument: str, seconds: float | None) -> At:
    numbers = argument.split("+")
    if not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers) or len(numbers) > MAX_FRAMES:
        usage = f"expected at:P+Q+... with positions from 0, 1 to {MAX_FRAMES} of them, as in at:0+12+40"
        raise UserError(f"frame policy 'at:{argument[:80]}': {usage}")
    return At(tuple(sorted(map(int, numbers))), seconds)


def _clip_topk(argument: str, seconds: float | None) -> ClipTopK:
    kept, _, candidates = argument.partition("/")
    count, of = _count(kept), _count(candidates) if "/" in argument else ClipTopK.of
    if count is None or of is None or count > of:
        usage = f"expected clip-topk:K or clip-topk:K/N, K of N frames, N (20 unless said) at most {MAX_FRAMES}"
        raise UserError(f"frame policy 'clip-topk:{argument}': {usage}", remedy="such as clip-topk:4 or clip-topk:8/32")
    return ClipTopK(count, of, seconds)


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) and 0 < int(text) <= MAX_FRAMES else None


def _number(text: str) -> float | None:
    """Return a positive number, rounded to what its canonical spelling keeps."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        return None
    return float(f"{float(text):g}") or None


POLICIES: dict[str, Callable[[str, float | None], FramePolicy | ClipTopK]] = {
    "uniform": _uniform,
    "first": _first,
    "fps": _fps,
    "at": _at,
    "clip-topk": _clip_topk,
}

EXAMPLES = ("uniform:8", "first:30s/8", "fps:1")


def parse(text: str, max_seconds: float | None = MAX_SECONDS) -> FramePolicy:
    """Parse `uniform:8`, `first:30s/16`, `fps:1` or one with an end, `uniform:8@60s`.

    Raises
    ------
    UserError
        As `parse_any` does, and for a policy that needs more than the clip.
    """
    policy = parse_any(text, max_seconds)
    if isinstance(policy, ClipTopK):
        raise UserError(
            f"frame policy {text!r} chooses frames by the titles of items: it is for extractors of features",
            remedy=f"here such as {', '.join(EXAMPLES)}",
        )
    return policy


def parse_any(text: str, max_seconds: float | None = MAX_SECONDS) -> FramePolicy | ClipTopK:
    """Parse any spelling of a policy, `clip-topk` included.

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
