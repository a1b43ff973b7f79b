"""What a person sees while work goes on: progress bars on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from protocols.progress import Progress, Quiet

if TYPE_CHECKING:
    import rich.progress


class Bars:
    """Rich progress bars with ETA on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._live = RichProgress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(file=stream),
        )
        self._open = 0

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[_Bar]:
        """Show one bar until the block ends."""
        if not self._open:
            self._live.start()
        self._open += 1
        bar = self._live.add_task(title, total=total, note="")
        try:
            yield _Bar(self._live, bar)
        finally:
            self._open -= 1
            if not self._open:
                self._live.stop()

    def say(self, message: str) -> None:
        """Print one line above the bars."""
        self._live.console.print(message, markup=False, highlight=False, soft_wrap=True)


class _Bar:
    def __init__(self, live: rich.progress.Progress, bar: rich.progress.TaskID) -> None:
        self._live, self._bar = live, bar

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._live.update(self._bar, advance=steps, note=note)


class Lines(Quiet):
    """No bars (the output is no terminal): only the lines that are said."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, message: str) -> None:
        """Print one line."""
        self._stream.write(message + "\n")
        self._stream.flush()


def progress(quiet: bool = False) -> Progress:
    """Return the progress display that fits where standard error goes."""
    if quiet:
        return Quiet()
    return Bars(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
