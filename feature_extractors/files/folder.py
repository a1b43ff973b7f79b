"""Folder of clips as items, for features without interactions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from feature_extractors.base import ItemSource
from protocols.errors import UserError

#: Endings of files that are taken for clips; decoding shows which of them are.
# fmt: off
ENDINGS = frozenset({
    ".3g2", ".3gp", ".aac", ".asf", ".avi", ".divx", ".f4v", ".flac", ".flv", ".gif", ".m2ts", ".m4a", ".m4v", ".mkv",
    ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".vob",
    ".wav", ".webm", ".wma", ".wmv",
})
# fmt: on


@dataclass(frozen=True, eq=False)
class Folder:
    """Content of a folder of clips.

    Attributes
    ----------
    source
        One item for each entry with the ending of a clip.
    others
        Number of files with another ending, and of hidden entries.
    linked
        Number of links to folders, which are not entered.
    unread
        Folders that could not be read, with the reason.
    """

    source: ItemSource
    others: int
    linked: int
    unread: list[str]


def read_folder(root: Path) -> Folder:
    r"""List the clips of a folder, at any depth.

    An item's id is its path relative to the folder, with `/` between the parts and with its ending: `a.mp4` and
    `a.b.mp4`, `x/1.mp4` and `y/1.mp4` stay apart. Bytes of a name that are not UTF-8 become `\xNN`. Nothing is opened
    here; a pipe, a folder named like a clip, an empty file or a link that leads out of the folder is an item with a
    status and a reason, like a clip that does not decode. Links to folders are not entered, hidden entries left out.

    Parameters
    ----------
    root
        The folder.

    Raises
    ------
    UserError
        If it is no folder, holds no clips that can be seen, or two names become one id.
    """
    if not root.is_dir():
        raise UserError(f"{root} is {'not a folder' if root.exists() else 'not there'}", remedy="--media FOLDER")
    found: dict[str, Path] = {}
    others = linked = 0
    unread: list[str] = []
    for parent, folders, files in os.walk(
        root, onerror=lambda error: unread.append(f"{error.filename}: {error.strerror}")
    ):
        linked += sum((Path(parent) / name).is_symlink() for name in folders)
        hidden = [name for name in (*folders, *files) if name.startswith(".")]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        others += len(hidden)
        for name in (*folders, *files):
            if name.startswith("."):
                continue
            path = Path(parent) / name
            if Path(name).suffix.lower() not in ENDINGS:
                others += name in files
                continue
            item_id = _item_id(path.relative_to(root))
            if item_id in found:
                raise UserError(f"{found[item_id]!s} and {path!s} have the same id {item_id!r}", remedy="rename one")
            found[item_id] = path
    if not found:
        raise UserError(
            f"{root} holds no file with the ending of a clip ({others} others, {len(unread)} folders not readable)",
            remedy=f"known endings: {' '.join(sorted(ENDINGS))}",
        )
    item_ids = sorted(found)
    source = ItemSource(item_ids, [None] * len(found), [found[one] for one in item_ids], root=root)
    return Folder(source, others, linked, unread)


def _item_id(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
