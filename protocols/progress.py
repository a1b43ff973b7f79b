"""Progress reporting interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Task(Protocol):
    """One running piece of work."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Report `steps` more as done; `note` (a metric, a count of failures) is shown beside the bar."""


class Progress(Protocol):
    """Display of tasks: a rich one in `bench`, `Quiet` in tests and libraries."""

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Open a task of `total` steps (None: unknown)."""
        ...

    def say(self, message: str) -> None:
        """Show one line of information."""


class Quiet:
    """Progress without output."""

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Quiet]:
        """Open a task without output."""
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""
