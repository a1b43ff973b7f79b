"""Measured use of resources: wall, CPU and GPU seconds, and energy where the machine has readable counters."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from protocols.energy_counters import POWERCAP, Counter, NvidiaGpu, processors

#: Seconds between two readings: a counter of RAPL goes round in some 20 minutes at full load.
EACH = 60.0


@dataclass(frozen=True)
class Usage:
    """Resources that something has taken.

    Attributes
    ----------
    wall_s, cpu_s, gpu_s
        Wall, CPU and GPU seconds; a GPU counts while it is held, divided by the processes on it.
    cpu_j, gpu_j
        Joules of processors (with memory where it has a counter) and of GPUs; None: unknown.
    items
        Number of items that it was taken for, of an extraction.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    cpu_j: float | None = 0.0
    gpu_j: float | None = 0.0
    items: int = 0

    @property
    def joules(self) -> float | None:
        """Energy of processors and GPUs; None if either is unknown."""
        return None if self.cpu_j is None or self.gpu_j is None else self.cpu_j + self.gpu_j

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{f.name: _sum(getattr(self, f.name), getattr(other, f.name)) for f in fields(Usage)})

    def for_items(self, count: int) -> Usage:
        """Scale to a number of items: what they take on average.

        Raises
        ------
        ZeroDivisionError
            If it was measured on no item.
        """
        scaled: dict[str, Any] = {
            key: None if value is None else value / self.items * count for key, value in asdict(self).items()
        }
        return Usage(**{**scaled, "items": count})

    def as_json(self) -> dict[str, float | int | None]:
        """Return all fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Undo `as_json`.

        Raises
        ------
        KeyError
            If a field is missing.
        """
        return cls(**{f.name: content[f.name] for f in fields(cls)})


def _sum(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a + b


class Meter:
    """Meter of what this process and its children take while the block runs.

    Counters of energy are those of the machine. Of the energy of its processors the process is charged its share of
    their busy time, of that of a GPU one part of as many as there are processes on it. What cannot be read is unknown.

    Parameters
    ----------
    device
        Torch device that is held; GPU seconds are those of any but `cpu`.
    gpu
        UUID of the device if that is a GPU of NVIDIA, see `NvidiaGpu`; "": its energy is unknown.
    powercap
        Folder of the counters of processors.
    """

    def __init__(self, device: str = "cpu", gpu: str = "", powercap: Path = POWERCAP) -> None:
        self._on_gpu = device != "cpu"
        self._processors = processors(powercap)
        self._gpu: NvidiaGpu | None = None
        with suppress(OSError):
            self._gpu = NvidiaGpu(gpu) if gpu else None
        self._used = Usage(
            cpu_j=0.0 if self._processors else None, gpu_j=None if self._on_gpu and self._gpu is None else 0.0
        )
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)

    def __enter__(self) -> Self:
        self._last = self._readings()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def used(self) -> Usage:
        """Return what was taken since the block began."""
        with self._lock:
            before, self._last = self._last, self._readings()
            self._used += self._between(before, self._last)
            return self._used

    def _watch(self) -> None:
        while not self._over.wait(EACH):
            self.used()

    def _readings(self) -> _Readings:
        gpu = [self._gpu] if self._gpu else []
        return _Readings(time.perf_counter(), _own_seconds(), _busy_seconds(), _joules(self._processors), _joules(gpu))

    def _between(self, before: _Readings, after: _Readings) -> Usage:
        wall, own = after.wall - before.wall, max(0.0, after.own - before.own)
        busy = after.busy - before.busy
        cpu_j, gpu_j = _grown(before.cpu_j, after.cpu_j), _grown(before.gpu_j, after.gpu_j)
        sharing = self._gpu.processes() if self._gpu else 1
        share = min(1.0, own / busy) if busy > 0 else 0.0
        return Usage(
            wall,
            own,
            wall / sharing if self._on_gpu else 0.0,
            None if cpu_j is None else cpu_j * share,
            (None if gpu_j is None else gpu_j / sharing) if self._on_gpu else 0.0,
        )


class _Readings(NamedTuple):
    """Wall clock, own CPU seconds, busy seconds of all cores, and joules of processors and GPU."""

    wall: float
    own: float
    busy: float
    cpu_j: float | None
    gpu_j: float | None


def _grown(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


def _own_seconds() -> float:
    """Return the CPU seconds of this process, and of its children, those that have ended included."""
    me = psutil.Process()
    seconds = sum(me.cpu_times()[:4])  # user, system, and both of children that have ended
    for child in me.children(recursive=True):
        with suppress(psutil.Error):
            seconds += sum(child.cpu_times()[:4])
    return seconds


def _busy_seconds() -> float:
    """Return the seconds that cores of this machine have been busy, for any process."""
    times = psutil.cpu_times()
    return times.user + times.system + getattr(times, "nice", 0.0)


def _joules(counters: list[Any] | list[Counter]) -> float | None:
    try:
        return sum(one.joules() for one in counters) if counters else None
    except (OSError, ValueError):
        return None
