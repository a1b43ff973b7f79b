"""Atomic writing of files: readers see the old content or the new one, never a part of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Ending of the temporary files, by which those of a killed process are found.
PART = ".part"


def write_atomically(
    path: Path,
    content: str | bytes | memoryview | Callable[[Path], object],
    before: Callable[[Path], object] | None = None,
) -> None:
    """Write a file under a temporary name in the same folder, then rename it to its own.

    The folder is made where it is missing. Of several writers of one file the last one wins. Nothing is synced to the
    disk: a process may be killed at any time, a power loss is not covered.

    Parameters
    ----------
    path
        The file; one of this name is replaced.
    content
        Text (written as UTF-8), bytes, or a function that writes the file at the path which it is given. The name of
        that path ends in `PART`, whatever the ending of `path`.
    before
        Called with the path of the whole temporary file, before it is renamed.

    Raises
    ------
    OSError
        If the folder or the file cannot be written. After this and after any error of `content` or `before` the file is
        as it was and the temporary file is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART}")
    try:
        if callable(content):
            content(part)
        elif isinstance(content, str):
            part.write_text(content, encoding="utf-8")
        else:
            part.write_bytes(content)
        if before is not None:
            before(part)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
