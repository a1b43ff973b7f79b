"""Claims of jobs, by which processes on any number of machines share one results folder.

A claim is a file, or an object of a store, beside the record that is to be written. Its holder touches it as long as it
lives; one that is not touched for `LEASE` seconds, by the clock of the file system or store that all share, or whose
process is gone from this machine, is taken over. No lock of the operating system is needed, which network file systems
may grant to two machines. If a holder was only asleep, its job is computed twice: both write the same record, each of
them whole.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psutil

from protocols import object_store
from protocols.errors import UserError

#: Seconds between two touches of a held claim, and without one until it is free.
BEAT, LEASE = 15.0, 120.0


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Hold a claim file, or the object that it stands for, while the block runs.

    Yields
    ------
    bool
        False if a living process holds it.
    """
    uri = object_store.uri_of(path)
    held = _ObjectClaim(uri) if uri else _FileClaim(path)
    if not held.take():
        yield False
        return
    over = threading.Event()
    beat = threading.Thread(target=_keep, args=(held, over), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        over.set()
        beat.join()
        with suppress(UserError):  # of a store that does not answer: the claim is free when its lease ends
            held.release()


def _keep(held: _FileClaim | _ObjectClaim, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with suppress(OSError, UserError):
            held.touch()


class _FileClaim:
    def __init__(self, path: Path) -> None:
        self._path, self._mine = path, _statement()

    def take(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        held = _read(self._path)
        if held is not None:
            if not self._abandoned(held):
                return False
            self._remove(held)
        part = self._beside()
        part.write_text(self._mine, encoding="utf-8")
        try:  # a link appears whole, and fails where another process was faster
            os.link(part, self._path)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    def touch(self) -> None:
        os.utime(self._path)

    def release(self) -> None:
        if _read(self._path) == self._mine:
            self._path.unlink(missing_ok=True)

    def _remove(self, held: str) -> None:
        """Remove an abandoned claim; what another process has put in its place meanwhile is put back."""
        aside = self._beside()
        with suppress(FileNotFoundError):
            self._path.rename(aside)
            if _read(aside) != held:
                with suppress(FileExistsError):
                    os.link(aside, self._path)
            aside.unlink()

    def _abandoned(self, held: str) -> bool:
        if _is_of_the_dead(held):
            return True
        probe = self._beside()
        try:
            probe.touch()
            return probe.stat().st_mtime - self._path.stat().st_mtime > LEASE
        except FileNotFoundError:  # freed just now
            return False
        finally:
            probe.unlink(missing_ok=True)

    def _beside(self) -> Path:
        return self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")


class _ObjectClaim:
    """Claim by conditional puts: of several that take it the store lets one succeed."""

    def __init__(self, uri: str) -> None:
        self._uri, self._mine = uri, _statement()

    def take(self) -> bool:
        if object_store.put(self._uri, self._mine.encode()):
            return True
        held = self._read()
        if held is None:  # freed just now
            return False
        text, found = held
        if not _is_of_the_dead(text) and (self._now() - found.changed).total_seconds() <= LEASE:
            return False
        return object_store.put(self._uri, self._mine.encode(), found)

    def touch(self) -> None:
        held = self._read()
        if held is not None and held[0] == self._mine:
            object_store.put(self._uri, self._mine.encode(), held[1])

    def release(self) -> None:
        held = self._read()
        if held is not None and held[0] == self._mine:
            object_store.delete(self._uri)

    def _read(self) -> tuple[str, object_store.Object] | None:
        found = object_store.look(self._uri)
        if found is None:
            return None
        try:
            return object_store.read(self._uri, tag=found.tag).decode(errors="replace"), found
        except FileNotFoundError:
            return None

    def _now(self) -> datetime:
        """Return the time by the clock of the store."""
        probe = f"{self._uri}.{uuid.uuid4().hex}"
        object_store.put(probe, b"")
        try:
            found = object_store.look(probe)
            assert found is not None, f"{probe} is gone"
            return found.changed
        finally:
            object_store.delete(probe)


def _statement() -> str:
    return json.dumps({"machine": _machine(), "pid": os.getpid(), "token": uuid.uuid4().hex})


def _is_of_the_dead(held: str) -> bool:
    """Return True for a claim of a process that is gone from this machine."""
    with suppress(ValueError, KeyError, TypeError):
        holder = json.loads(held)
        return bool(holder["machine"] == _machine() and not psutil.pid_exists(holder["pid"]))
    return False


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
