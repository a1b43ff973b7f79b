"""Process pool for jobs; a worker process that dies costs its job, not the run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil

from bench import records
from bench.runs.context import Job, RunContext
from bench.runs.worker import new_record, start, work
from protocols.progress import Progress, Task


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
    with progress.task("train and rank", len(jobs)) as bar:
        try:
            _batch(context, jobs, min(processes, len(jobs)), done, bar, on_done)
        except BrokenProcessPool:
            # One process died (memory, a crash in native code) and took the pool along: find out which job did it by
            # running the rest one by one, each in a pool of its own.
            for job in [job for job in jobs if job not in done]:
                try:
                    _batch(context, [job], 1, done, bar, on_done)
                except BrokenProcessPool:
                    done[job] = _died(context, job)
                    bar.advance(1)
                    on_done(job, done[job])
    return done


def _batch(
    context: RunContext,
    jobs: Sequence[Job],
    processes: int,
    done: dict[Job, Path],
    bar: Task,
    on_done: Callable[[Job, Path], None],
) -> None:
    spawn = multiprocessing.get_context("spawn")  # forking a process that has loaded torch is not safe
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=start, initargs=(context,)) as executor:
        futures = {executor.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                job = futures[future]
                done[job] = future.result()
                bar.advance(1, note=job.cell.label)
                on_done(job, done[job])
        except KeyboardInterrupt:
            end_processes(executor)
            raise


def end_processes(executor: ProcessPoolExecutor) -> None:
    """End the worker processes of a pool at once, and theirs."""
    executor.shutdown(wait=False, cancel_futures=True)
    for child in psutil.Process().children(recursive=True):
        child.terminate()


def _died(context: RunContext, job: Job) -> Path:
    record = new_record(context, job)
    record.status, record.error = "failed", "the worker process died (out of memory, or a crash in native code)"
    return records.write(context.record(job).parent, record)
