"""Claims of jobs, by which processes on any number of machines share one results folder.

A claim is a file beside the record that is to be written. Its holder touches it as long as it lives; one that is not
touched for `LEASE` seconds, by the clock of the file system that all share, or whose process is gone from this machine,
is taken over. No lock of the operating system is needed, which network file systems may grant to two machines. If a
holder was only asleep, its job is computed twice: both write the same record, each of them whole.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

#: Seconds between two touches of a held claim, and without one until it is free.
BEAT, LEASE = 15.0, 120.0


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Hold a claim file while the block runs.

    Yields
    ------
    bool
        False if a living process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = json.dumps({"machine": _machine(), "pid": os.getpid(), "token": uuid.uuid4().hex})
    if not _take(path, mine):
        yield False
        return
    over = threading.Event()
    beat = threading.Thread(target=_keep, args=(path, over), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        over.set()
        beat.join()
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _take(path: Path, mine: str) -> bool:
    held = _read(path)
    if held is not None:
        if not _abandoned(path, held):
            return False
        _remove(path, held)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    part.write_text(mine, encoding="utf-8")
    try:  # a link appears whole, and fails where another process was faster
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def _remove(path: Path, held: str) -> None:
    """Remove an abandoned claim; what another process has put in its place meanwhile is put back."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != held:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _abandoned(path: Path, held: str) -> bool:
    with suppress(ValueError, KeyError, TypeError):
        holder = json.loads(held)
        if holder["machine"] == _machine() and not psutil.pid_exists(holder["pid"]):
            return True
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime > LEASE
    except FileNotFoundError:  # freed just now
        return False
    finally:
        probe.unlink(missing_ok=True)


def _keep(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with suppress(OSError):
            os.utime(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _machine() -> str:
    """Name this machine, or the container whose process ids these are."""
    try:
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()
