"""Process pool for jobs; a worker process that dies costs its job, not the run.

Several runs, on several machines, may share a results folder: each computes what no other is computing.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil

from bench import records
from bench.runs.context import Job, RunContext
from bench.runs.worker import new_record, start, work
from protocols.progress import Progress

#: Seconds between two looks at jobs that other runs are computing.
POLL = 1.0


def execute(
    context: RunContext,
    jobs: Sequence[Job],
    processes: int,
    progress: Progress,
    on_done: Callable[[Job, Path], None] = lambda job, path: None,
) -> dict[Job, Path]:
    """Compute jobs in parallel processes.

    Parameters
    ----------
    context
        Sent once to every worker process.
    jobs
        The jobs to compute.
    processes
        Number of worker processes.
    progress
        Shows jobs done, with ETA.
    on_done
        Called with each job that is done and the path of its record.

    Returns
    -------
    dict
        Path of the record of each job; a job whose worker process died has one with status `failed`.

    Raises
    ------
    KeyboardInterrupt
        After the worker processes have been ended; finished jobs stay on disk.
    """
    if not jobs:
        return {}
    done: dict[Job, Path] = {}
    before = {job: _written(context.record(job)) for job in jobs}

    def finish(job: Job, path: Path) -> None:
        done[job] = path
        bar.advance(1, note=job.cell.label)
        on_done(job, path)

    def by_others(job: Job) -> bool:
        return _written(context.record(job)) != before[job]

    with progress.task("train and rank", len(jobs)) as bar:
        try:
            _compute(context, jobs, min(processes, len(jobs)), finish, by_others)
        except BrokenProcessPool:
            # One process died (memory, a crash in native code) and took the pool along: find out which job did it by
            # running the rest one by one, each in a pool of its own.
            for job in [job for job in jobs if job not in done]:
                try:
                    _compute(context, [job], 1, finish, by_others)
                except BrokenProcessPool:
                    finish(job, _died(context, job))
    return done


def _compute(
    context: RunContext,
    jobs: Sequence[Job],
    processes: int,
    finish: Callable[[Job, Path], None],
    by_others: Callable[[Job], bool],
) -> None:
    """Compute jobs, or wait for those that other runs compute."""
    spawn = multiprocessing.get_context("spawn")  # forking a process that has loaded torch is not safe
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=start, initargs=(context,)) as executor:
        waiting, held, running = deque(jobs), deque[Job](), dict[Future[Path | None], Job]()
        try:
            while waiting or held or running:
                while waiting and len(running) <= processes:  # one more, so that no process waits for this one
                    job = waiting.popleft()
                    if by_others(job):
                        finish(job, context.record(job))
                    else:
                        running[executor.submit(work, job)] = job
                if not running and not waiting:
                    time.sleep(POLL)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, path = running.pop(future), future.result()
                    if path is None:
                        held.append(job)
                    else:
                        finish(job, path)
                if not waiting and not running:
                    waiting, held = held, deque()
        except KeyboardInterrupt:
            end_processes(executor)
            raise


def _written(record: Path) -> int | None:
    """Return when a record was written, in ns of its file system; None if it was not."""
    try:
        return record.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def end_processes(executor: ProcessPoolExecutor) -> None:
    """End the worker processes of a pool at once, and theirs."""
    executor.shutdown(wait=False, cancel_futures=True)
    for child in psutil.Process().children(recursive=True):
        child.terminate()


def _died(context: RunContext, job: Job) -> Path:
    record = new_record(context, job)
    record.status, record.error = "failed", "the worker process died (out of memory, or a crash in native code)"
    return records.write(context.record(job).parent, record)
