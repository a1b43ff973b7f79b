"""Media files of items, found by id or by name; none outside of its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from protocols.errors import DataError

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".m4v", ".avi", ".flv", ".ts", ".ogv", ".mpg", ".mpeg", ".gif")
#: Beginning of the address of a video: one that holds no credentials.
ADDRESS = re.compile(r"(s3|gs|https?)://[^/?#@\s\\]+(/|$)")


def by_id(folder: Path, item_ids: Sequence[str]) -> list[str | None]:
    """Find the file of each item: `<id>.mp4`, or with another suffix.

    The folder is listed and ids are looked up among the names, so no id is ever made into a path. Where an id cannot
    be a file name (it holds a slash), its percent-encoded form is looked up: `a/b` is `a%2Fb.mp4`.

    Raises
    ------
    DataError
        If two files belong to the same item.
    """
    found: dict[str, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        stem, suffix = Path(entry.name).stem, Path(entry.name).suffix
        if suffix.lower() not in SUFFIXES or (entry.is_symlink() and not is_inside(folder, Path(entry.path))):
            continue
        if stem in found:
            raise DataError(
                f"{folder}: {Path(found[stem]).name} and {entry.name} are both the video of item {stem!r}",
                remedy="keep one of them",
            )
        found[stem] = entry.path
    return [found.get(item) or found.get(quote(item, safe="")) for item in item_ids]


def by_name(folder: Path, names: Sequence[str | None]) -> tuple[list[str | None], int]:
    """Turn file names relative to `folder` into paths.

    Returns
    -------
    tuple
        Paths (also of files that do not exist; None for no name), and the position of the first name that lies
        outside of the folder, else -1.
    """
    base = os.path.realpath(folder)
    paths: list[str | None] = []
    for place, name in enumerate(names):
        if name is None:
            paths.append(None)
            continue
        if "\0" in name or not is_inside(Path(base), Path(base, name)):
            return paths, place
        paths.append(str(Path(base, name)))
    return paths, -1


def is_inside(folder: Path, path: Path) -> bool:
    """Return True if `path`, with `..` and links followed, lies below `folder`.

    Examples
    --------
    >>> is_inside(Path("/data"), Path("/data/a/../b")), is_inside(Path("/data"), Path("/data/../etc"))
    (True, False)
    """
    base = Path(os.path.realpath(folder))
    return base in Path(os.path.realpath(path)).parents
