"""Runs units in worker processes; a dead worker costs its unit, not the run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil

from bench.boards import records
from bench.runs.worker import Shared, Unit, new_record, start, work
from protocols.progress import Progress, Task


def execute(
    shared: Shared,
    units: Sequence[Unit],
    jobs: int,
    progress: Progress,
    tell: Callable[[Unit, Path], None] = lambda unit, path: None,
) -> dict[Unit, Path]:
    """Compute units in parallel processes.

    Parameters
    ----------
    shared
        Sent once to every worker.
    units
        What to compute.
    jobs
        Number of worker processes.
    progress
        Shows units done, with ETA.
    tell
        Called with each unit that is done and its record.

    Returns
    -------
    dict
        Path of the record of each unit; a unit whose worker died has one with status `failed`.

    Raises
    ------
    KeyboardInterrupt
        After the workers have been ended; finished units stay on disk.
    """
    if not units:
        return {}
    done: dict[Unit, Path] = {}
    with progress.task("train and rank", len(units)) as bar:
        try:
            _batch(shared, units, min(jobs, len(units)), done, bar, tell)
        except BrokenProcessPool:
            # One worker died (memory, a crash in native code) and took the pool along: find out which by running
            # the rest one by one, each in a pool of its own.
            for unit in [unit for unit in units if unit not in done]:
                try:
                    _batch(shared, [unit], 1, done, bar, tell)
                except BrokenProcessPool:
                    done[unit] = _died(shared, unit)
                    bar.advance(1)
                    tell(unit, done[unit])
    return done


def _batch(
    shared: Shared,
    units: Sequence[Unit],
    jobs: int,
    done: dict[Unit, Path],
    bar: Task,
    tell: Callable[[Unit, Path], None],
) -> None:
    context = multiprocessing.get_context("spawn")  # forking a process that has loaded torch is not safe
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=start, initargs=(shared,)) as executor:
        futures = {executor.submit(work, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                bar.advance(1, note=futures[future].cell.label)
                tell(futures[future], done[futures[future]])
        except KeyboardInterrupt:
            executor.shutdown(wait=False, cancel_futures=True)
            for child in psutil.Process().children(recursive=True):
                child.terminate()
            raise


def _died(shared: Shared, unit: Unit) -> Path:
    record = new_record(shared, unit)
    record.status, record.error = "failed", "the worker process died (out of memory, or a crash in native code)"
    return records.write(shared.results / unit.cell.folder, record)
