"""Terminal output: progress bars on a terminal, a line a minute elsewhere; text without control characters."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO, cast

from protocols.progress import Progress, Quiet

if TYPE_CHECKING:
    import rich.progress


# What may command a terminal or reorder its text: C0 and C1 but tab, line feed and carriage return, bidirectional
# controls, and halves of surrogate pairs, which no encoding takes.
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL, _CONTROL_OR_RETURN = re.compile(f"[{_CONTROLS}]"), re.compile(f"[{_CONTROLS}\r]")


def clean(text: str) -> str:
    """Replace control characters of a text of several lines; tabs and line feeds stay."""
    return _CONTROL_OR_RETURN.sub("\N{REPLACEMENT CHARACTER}", text)


class _Clean:
    """Text stream that cleans all that is written; everything else is that of the stream below."""

    def __init__(self, stream: TextIO, replace: Callable[[str], str]) -> None:
        self.below, self._replace = stream, replace

    def write(self, text: str) -> int:
        return self.below.write(self._replace(text))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


@contextmanager
def clean_streams() -> Iterator[None]:
    """Clean all that is printed until the block ends; bars of libraries on standard error keep their returns."""
    out, err = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _Clean(out, clean))
    sys.stderr = cast(TextIO, _Clean(err, lambda text: _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def printable(text: object) -> str:
    """Replace control characters, so that no name from data can command a terminal or a page."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


class Bars:
    """Rich progress bars on a terminal, with items per second and ETA."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console, RenderableType
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
        from rich.table import Column
        from rich.text import Text

        class Rate(ProgressColumn):
            """Recent items per second; the average until there is a recent value."""

            def render(self, task: RichTask) -> Text:
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{speed:.3g}/s")

        class Noted(RichProgress):
            """Bars with notes on lines of their own, where they leave bars, counts and times their place."""

            def get_renderables(self) -> Iterator[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                yield from (Text(f"  {task.fields['note']}") for task in self.tasks if task.fields["note"])

        self._live = Noted(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=28)),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            Rate(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._open = 0

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[_Bar]:
        """Show one bar until the block ends."""
        if not self._open:
            self._live.start()
        self._open += 1
        bar = self._live.add_task(clean(title), total=total, note="")
        try:
            yield _Bar(self._live, bar)
        finally:
            self._open -= 1
            if not self._open:
                self._live.stop()

    def say(self, message: str) -> None:
        """Print one line above the bars."""
        self._live.console.print(clean(message), markup=False, highlight=False, soft_wrap=True)


class _Bar:
    def __init__(self, live: rich.progress.Progress, bar: rich.progress.TaskID) -> None:
        self._live, self._bar = live, bar

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._live.update(self._bar, advance=steps, note=clean(note))


class Lines:
    """Lines for output that is no terminal: messages, and the state of a long task once a minute."""

    def __init__(self, stream: TextIO, every: float = 60.0) -> None:
        self._stream, self._every = stream, every

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[_Line]:
        """Report a task once a minute."""
        yield _Line(self, title, total, self._every)

    def say(self, message: str) -> None:
        """Print one line."""
        self._stream.write(clean(message) + "\n")
        self._stream.flush()


class _Line:
    def __init__(self, lines: Lines, title: str, total: int | None, every: float) -> None:
        self._lines, self._title, self._total, self._every = lines, title, total, every
        self._began = self._reported = time.monotonic()
        self._done = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._reported < self._every or self._done == self._total:
            return
        self._reported = now
        rate = self._done / (now - self._began)
        of, left = "", ""
        if self._total and not rate:
            of = f" of {self._total}"
        elif self._total:
            of, left = f" of {self._total}", f", {timedelta(seconds=round((self._total - self._done) / rate))} left"
        self._lines.say(f"{self._title}: {self._done}{of}, {rate:.3g}/s{left}{f', {note}' if note else ''}")


def is_terminal(stream: TextIO) -> bool:
    """Return True for a stream that goes to a terminal which takes colours."""
    return (stream.below if isinstance(stream, _Clean) else stream).isatty() and "NO_COLOR" not in os.environ


def write_styled(text: str) -> None:
    """Write text with escape sequences of ours, in which all names are `printable`, to standard output."""
    stream = sys.stdout.below if isinstance(sys.stdout, _Clean) else sys.stdout
    stream.write(text)


def progress(quiet: bool = False) -> Progress:
    """Return the progress display that fits where standard error goes."""
    if quiet:
        return Quiet()
    stream = sys.stderr.below if isinstance(sys.stderr, _Clean) else sys.stderr  # bars command the terminal
    return Bars(stream) if stream.isatty() else Lines(stream)


class Recorded:
    """Progress that also keeps the lines that were shown.

    Attributes
    ----------
    lines
        All lines so far.
    """

    def __init__(self, below: Progress) -> None:
        self.lines: list[str] = []
        self.task = below.task
        self._below = below

    def say(self, message: str) -> None:
        """Show a line, and keep it."""
        self.lines.append(message)
        self._below.say(message)
