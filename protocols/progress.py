"""How long work reports how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Task(Protocol):
    """One running piece of work."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done; `note` (a metric, a count of failures) stands beside the bar."""


class Progress(Protocol):
    """Where tasks are shown. `bench` gives a rich one, tests and libraries `Quiet`."""

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Open a task of `total` steps (None: unknown)."""
        ...

    def say(self, message: str) -> None:
        """Show one line of information."""


class Quiet:
    """Shows nothing."""

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Quiet]:
        """Open a task that nobody sees."""
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""
