"""Training jobs in the processes of an engine; one that dies costs its job, not the run.

Several runs, on several machines, may share a results folder: each computes what no other is computing.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from bench import records
from bench.runs.context import Job, RunContext
from bench.runs.engines import LocalEngine, RayEngine, drive
from bench.runs.worker import claimed, new_record, start_reporting, work
from protocols.progress import Progress


def execute(
    context: RunContext,
    jobs: Sequence[Job],
    processes: int,
    progress: Progress,
    on_done: Callable[[Job, Path], None] = lambda job, path: None,
    ray: str = "",
) -> dict[Job, Path]:
    """Compute jobs in parallel processes.

    Parameters
    ----------
    context
        Sent once to every worker process, or node.
    jobs
        The jobs to compute.
    processes
        Number of worker processes.
    progress
        Shows jobs done, with ETA, and the last epoch of a fit with its metric (of processes of this machine).
    on_done
        Called with each job that is done and the path of its record.
    ray
        Address of a Ray cluster, whose nodes see the folder of results under the same path; "": this machine.

    Returns
    -------
    dict
        Path of the record of each job; a job whose worker process died has one with status `failed`.

    Raises
    ------
    UserError
        As `engines.RayEngine`, or if a node does not see the folder of results.
    KeyboardInterrupt
        After the worker processes have been ended; finished jobs stay on disk.
    """
    if not jobs:
        return {}
    done: dict[Job, Path] = {}
    before = {job: _written(context.record(job)) for job in jobs}

    def finish(job: Job, path: Path | None) -> bool:
        record = context.record(job)
        if path is None and _written(record) != before[job]:  # another run has computed it
            path = record
        if path is not None:
            done[job] = path
            bar.advance(1, note=job.cell.label)
            on_done(job, path)
        return path is not None

    def died(job: Job) -> None:
        finish(job, _died(context, job))

    def compute(among: Sequence[Job], processes: int, lost: tuple[type[BaseException], ...] = ()) -> None:
        # a queue for each pool: a process that dies may leave its lock closed for ever
        news = multiprocessing.get_context("spawn").SimpleQueue()

        def tell() -> None:
            while not news.empty():
                bar.advance(0, note=news.get())

        own = replace(context, ranking_threads=max(1, cores() // processes))
        with LocalEngine(processes, work, start_reporting, (own, news)) as engine:
            engine.lost = lost
            drive(engine, among, finish, died, tell)

    with progress.task("train and rank", len(jobs)) as bar:
        if ray:
            with RayEngine(ray, claimed, context, context.results, context.device, cpus=context.threads) as cluster:
                drive(cluster, jobs, finish, died)
            return done
        try:
            compute(jobs, min(processes, len(jobs)))
        except BrokenProcessPool:
            # One process died (memory, a crash in native code) and took the pool along: find out which job did it by
            # running the rest one by one, each in a pool of its own.
            for job in [job for job in jobs if job not in done]:
                compute([job], 1, lost=(BrokenProcessPool,))
    return done


def cores() -> int:
    """Count the cores to use: those of the machine, or fewer if OMP_NUM_THREADS says so."""
    given, there = os.environ.get("OMP_NUM_THREADS", ""), os.cpu_count() or 1
    return min(int(given), there) if given.isdecimal() and int(given) else there


def _written(record: Path) -> int | None:
    """Return when a record was written, in ns of its file system; None if it was not."""
    try:
        return record.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _died(context: RunContext, job: Job) -> Path:
    record = new_record(context, job)
    record.status, record.error = "failed", "the worker process died (out of memory, or a crash in native code)"
    return records.write(context.record(job).parent, record)
