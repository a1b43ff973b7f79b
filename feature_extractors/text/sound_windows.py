"""Sound tags of the windows of a clip: lists of classes, tags with scores, their JSON and their text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.errors import UserError


def read_classes(path: Path) -> list[tuple[str, str]]:
    """Read a list of sound classes.

    Returns
    -------
    list
        (class, group) in the order of the file; the group is "" before the first line like `[music]`.

    Raises
    ------
    UserError
        If it cannot be read, holds fewer than two classes, or one of them twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"no list of sound classes {path}", remedy="give a text file with one class a line") from error
    classes, group = {}, ""
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line in classes:
            raise UserError(f"{path}, line {number}: the sound class {line!r} is there twice")
        elif line:
            classes[line] = group
    if len(classes) < 2:
        raise UserError(f"{path} holds fewer than two sound classes: there is nothing to choose from")
    return list(classes.items())


@dataclass(frozen=True)
class Tag:
    """Sound class predicted for a window.

    Attributes
    ----------
    name, group
        As in the list of classes.
    score
        Cosine, -1 to 1.
    """

    name: str
    group: str
    score: float


@dataclass(frozen=True)
class TaggedWindow:
    """Window of a clip with its tags.

    Attributes
    ----------
    start, seconds
        Start since the first sound, and duration.
    tags
        The ten best, best first.
    """

    start: float
    seconds: float
    tags: Sequence[Tag]


def dump(windows: Sequence[TaggedWindow]) -> str:
    """Write windows as JSON; numbers are rounded to three decimals."""
    rows = [
        {
            "start": round(window.start, 3),
            "seconds": round(window.seconds, 3),
            "tags": [[tag.name, tag.group, round(tag.score, 3)] for tag in window.tags],
        }
        for window in windows
    ]
    return json.dumps(rows, ensure_ascii=False)


def parse(text: str) -> list[TaggedWindow]:
    """Read what `dump` wrote."""
    return [TaggedWindow(row["start"], row["seconds"], [Tag(*tag) for tag in row["tags"]]) for row in json.loads(text)]


def worded(windows: Sequence[TaggedWindow], top: int, least: float) -> str:
    """Write the best tags of each window as text.

    Examples
    --------
    >>> rain, thunder = Tag("rain", "nature", 0.49), Tag("thunder", "nature", 0.3)
    >>> worded([TaggedWindow(0, 4.5, [rain, thunder])], top=3, least=0.2)
    'rain .49, thunder .30'
    >>> worded([TaggedWindow(0, 10, [rain, thunder]), TaggedWindow(10, 2.5, [rain])], top=1, least=0.2)
    '0-10 s: rain .49; 10-12.5 s: rain .49'
    """
    parts = []
    for window in windows:
        kept = [tag for at, tag in enumerate(window.tags[:top]) if at == 0 or tag.score >= least]
        words = ", ".join(f"{tag.name} {f'{tag.score:.2f}'.replace('0.', '.', 1)}" for tag in kept)
        time = f"{window.start:g}-{round(window.start + window.seconds, 1):g} s: " if len(windows) > 1 else ""
        parts.append(time + words)
    return "; ".join(parts)
