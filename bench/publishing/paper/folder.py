"""Folder of a paper: its files, written anew where nobody has edited them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import tables
from bench.boards import board_cache, leaderboard
from bench.publishing import citations
from bench.publishing.paper import figures, text
from bench.publishing.paper.sections import BEST, Section, sections
from bench.tables.layout import View
from protocols.atomic_write import write_atomically
from protocols.errors import UserError

#: Hashes of the files as written: a file with another hash was edited.
MANIFEST = ".bench-paper.json"


@dataclass(frozen=True)
class Written:
    """Files of a paper, relative to its folder: written, and kept because they were edited."""

    main: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def write(
    results: Path,
    folder: Path,
    cache: Path,
    dataset: str | None = None,
    protocol: str | None = None,
    title: str = "",
) -> Written:
    """Write a paper about all boards below a results folder.

    Parameters
    ----------
    results
        Where records lie.
    folder
        Made if absent. Of an earlier paper there, files that were edited are kept.
    cache
        Cache folder, for built boards.
    dataset, protocol
        Only boards of these.
    title
        Of the paper; "": one that names the data.

    Raises
    ------
    UserError
        If there are no records, or the folder holds files of others.
    """
    known = _manifest(folder)
    groups = {leaderboard.table_id(group.values()): group for group in leaderboard.groups(results, dataset, protocol)}
    if not groups:
        raise leaderboard.nothing_in(results)
    boards = board_cache.boards(results, cache, dataset, protocol)
    return _put(folder, files(sections((board, groups[board.id]) for board in boards), title), known)


def files(found: list[Section], title: str = "") -> dict[str, bytes]:
    """Return the content of every file of a paper about some boards."""
    content: dict[str, str | bytes] = dict(text.files(found, title))
    for one in found:
        content[one.table] = tables.render(one.board, "latex", View(rows=BEST if one.long else 0))
        if one.long:
            content[one.whole] = tables.render(one.board, "latex")
        content |= {name: figures.pdf(one.board, kind) for kind, name in one.charts.items()}
    content["references.bib"] = citations.bibliography([one.group for one in found]) + "\n"
    return {name: part.encode() if isinstance(part, str) else part for name, part in content.items()}


def _manifest(folder: Path) -> dict[str, str]:
    """Read the hashes of an earlier paper.

    Raises
    ------
    UserError
        If the folder holds files, and none of them says that they are those of a paper.
    """
    file = folder / MANIFEST
    try:
        if not file.exists():
            # hidden entries: an empty git repository is a fine place
            if folder.exists() and any(not one.name.startswith(".") for one in folder.iterdir()):
                raise UserError(
                    f"{folder} holds files that bench paper did not write", remedy="choose another folder with -o"
                )
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder} cannot take a paper: {error}", remedy="choose another folder with -o") from error


def _put(folder: Path, content: Mapping[str, bytes], known: Mapping[str, str]) -> Written:
    written: list[str] = []
    kept: list[str] = []
    hashes: dict[str, str] = {}
    try:
        for name, part in content.items():
            path, fresh = folder / name, hashlib.sha256(part).hexdigest()
            there = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
            edited = there not in ("", fresh, known.get(name))
            hashes[name] = known.get(name, "") if edited else fresh
            (kept if edited else written).append(name)
            if not edited:
                write_atomically(path, part)
        write_atomically(folder / MANIFEST, json.dumps(hashes, indent=1, sort_keys=True))
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or folder}: {error.strerror}", remedy="choose another folder with -o"
        ) from error
    return Written(folder / text.MAIN, tuple(written), tuple(kept))
