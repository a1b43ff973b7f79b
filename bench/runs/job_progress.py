"""Progress inside a job: epochs, users ranked, the last metric, and the time that is left, every two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from bench.runs.context import Job
from protocols.wording import counted

#: Seconds between two lines of one job.
EVERY = 2.0


class JobProgress:
    """Lines on one stage of a job.

    Parameters
    ----------
    job, stage
        Name it.
    show
        Called with each line; None: nobody looks.
    every
        Seconds between two lines.
    """

    def __init__(self, job: Job, stage: str, show: Callable[[str], None] | None, every: float = EVERY) -> None:
        self._name = f"{job.cell.label}, seed {job.seed}, fold {job.fold}, {stage}"
        self._show, self._every = show, every
        self._began = self._shown = time.monotonic()
        self._first: float | None = None

    def say(self, text: str) -> None:
        """Show a line now."""
        if self._show is not None:
            self._shown = time.monotonic()
            self._show(f"{self._name}: {text}")

    def epochs(self, done: float, most: float, note: str, *, fixed: bool) -> None:
        """Show epochs done of at most so many (`fixed`: of exactly so many) with the last validation."""
        of = "of" if fixed else "of at most"
        left = "left" if fixed else "left at most"
        self._tell(done, most, f"epoch {done:.2f} {of} {most:g}{f', {note}' if note else ''}", left)

    def users(self, done: int, of: int) -> None:
        """Show users ranked."""
        self._tell(done, of, f"{done:,} of {counted(of, 'user', ',')} ranked", "left")

    def _tell(self, done: float, most: float, text: str, left: str) -> None:
        now = time.monotonic()
        if self._first is None:  # a resumed fit does not begin at 0
            self._first, self._began = done, now
        if now - self._shown < self._every or done <= self._first:
            return
        each = (now - self._began) / (done - self._first)
        self.say(f"{text}, {timedelta(seconds=round(each * max(0.0, most - done)))} {left}")
