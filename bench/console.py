"""What a person sees while work goes on: progress bars on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

from protocols.progress import Progress, Quiet

if TYPE_CHECKING:
    import rich.progress


class Bars:
    """Rich progress bars with items per second and ETA on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress
        from rich.progress import Task as RichTask
        from rich.text import Text

        class Rate(ProgressColumn):
            """Items per second, of late; of all while nothing is known of late."""

            def render(self, task: RichTask) -> Text:
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{speed:.3g}/s")

        self._live = RichProgress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
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


class Lines:
    """No bars (the output is no terminal): the lines that are said, and once a minute how far a long task is."""

    def __init__(self, stream: TextIO, every: float = 60.0) -> None:
        self._stream, self._every = stream, every

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[_Line]:
        """Tell of a task when it takes long."""
        yield _Line(self, title, total, self._every)

    def say(self, message: str) -> None:
        """Print one line."""
        self._stream.write(message + "\n")
        self._stream.flush()


class _Line:
    def __init__(self, lines: Lines, title: str, total: int | None, every: float) -> None:
        self._lines, self._title, self._total, self._every = lines, title, total, every
        self._began = self._told = time.monotonic()
        self._done = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._told < self._every or self._done == self._total:
            return
        self._told = now
        rate = self._done / (now - self._began)
        of, left = "", ""
        if self._total:
            of, left = f" of {self._total}", f", {timedelta(seconds=round((self._total - self._done) / rate))} left"
        self._lines.say(f"{self._title}: {self._done}{of}, {rate:.3g}/s{left}{f', {note}' if note else ''}")


def progress(quiet: bool = False) -> Progress:
    """Return the progress display that fits where standard error goes."""
    if quiet:
        return Quiet()
    return Bars(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
