"""Grids: a plan of their cells, and a line for each cell that is done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench import records, registry
from bench.runs import run as runs
from bench.runs.catalogue_size import Row
from bench.runs.context import Job
from bench.runs.rows import protocol_options
from protocols.evaluation import metrics
from protocols.progress import Progress
from protocols.ranking_problem import Fold
from protocols.wording import counted


@dataclass(frozen=True)
class PlannedCell:
    """Cell before it is run.

    Attributes
    ----------
    label
        Model, extractor and fusion.
    jobs
        Number of its jobs: seeds times folds.
    done
        Jobs with a result in the results folder; one made from other features counts here and is made
        anew when it comes to it.
    seconds
        Estimate for the others in one process, from past records; None: nothing like it has been run here.
    """

    label: str
    jobs: int
    done: int
    seconds: float | None


def plan(request: runs.Request, folds: int, rows: Sequence[Row] | None = None) -> list[PlannedCell]:
    """Plan a run, without extracting or training anything.

    Parameters
    ----------
    folds
        Of the protocol on the dataset.
    rows
        As they are fitted to the size of the catalogue; None: as the request names them.
    """
    past = _past(request.results)
    out = []
    for cell, model, extractor in runs.resolve(request) if rows is None else [row[1:] for row in rows]:
        seeds = runs.seeds_of(request.seeds, model, extractor)
        jobs = folds * len(seeds)
        found = records.read_all(request.results / cell.folder).values()
        served = (r for r in found if r.status == "ok" and r.metrics_version == metrics.VERSION)
        done = len({(r.seed, r.fold) for r in served if r.seed in seeds and r.fold < folds})
        each = past(cell)
        left = jobs - done
        out.append(PlannedCell(cell.label, jobs, done, None if each is None else each * left))
    return out


def folds(request: runs.Request, progress: Progress) -> list[Fold]:
    """Make the folds of the request's protocol on its dataset."""
    dataset = registry.create("dataset", request.dataset, request.options).load(request.cache, progress)
    options = protocol_options(request.protocol, request.options)
    return registry.create("protocol", request.protocol, options).split(dataset)


def plan_text(cells: Sequence[PlannedCell], processes: int) -> str:
    """Write a plan as a table with its sums below."""
    body = [
        [cell.label, cell.jobs, cell.done, "?" if cell.seconds is None else f"{cell.seconds:.0f} s"] for cell in cells
    ]
    head = ["cell", "results", "there", "to do (one process)"]
    known = [cell.seconds for cell in cells if cell.seconds is not None]
    unknown = len(cells) - len(known)
    guess = (
        f"about {sum(known) / max(1, processes) / 60:.0f} min with {counted(processes, 'process')}"
        if known
        else "time unknown"
    )
    if known and unknown:
        guess += f", without {counted(unknown, 'cell')} of unknown time"
    results, done = sum(cell.jobs for cell in cells), sum(cell.done for cell in cells)
    table = tabulate(body, head, tablefmt="github", disable_numparse=True)
    wanted = f"{counted(len(cells), 'cell')}, {counted(results, 'result')}"
    return f"{table}\n\n{wanted}, {done} there: {guess}; extraction not counted\n"


def _past(results: Path) -> Callable[[records.Cell], float | None]:
    """Make a function that estimates seconds of a job from the same cell, model and fusion, or model."""
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in records.read_all(results).values():
        if record.status != "ok":
            continue
        cell = records.Cell(**record.cell)
        spent = sum(value for stage, value in record.seconds.items() if stage != "cpu")
        for key in _keys(cell):
            seconds[key].append(spent)

    def look_up(cell: records.Cell) -> float | None:
        return next((float(np.median(seconds[key])) for key in _keys(cell) if key in seconds), None)

    return look_up


def _keys(cell: records.Cell) -> list[tuple[str, ...]]:
    world = (cell.dataset, cell.protocol, cell.model)
    return [(*world, cell.extractor, cell.fusion), (*world, cell.fusion), world]


def cell_announcer(jobs: Sequence[Job], progress: Progress) -> Callable[[Job, Path], None]:
    """Make a function to call with every finished job; it reports each cell when the last of its jobs is done."""
    left = Counter(job.cell.id for job in jobs)
    total, found = len(left), defaultdict(list)

    def on_done(job: Job, path: Path) -> None:
        found[job.cell.id].append(records.read(path))
        left[job.cell.id] -= 1
        if left[job.cell.id]:
            return
        done = sum(count == 0 for count in left.values())
        progress.say(f"[{done}/{total}] {job.cell.label:<44} {_outcome(found[job.cell.id])}")

    return on_done


def _outcome(found: Iterable[records.Record]) -> str:
    found = list(found)
    failed = [record for record in found if record.status != "ok"]
    if failed:
        return f"failed ({len(failed)} of {len(found)}): {failed[0].failure}"
    values = [value for r in found if (value := r.metrics.get("ndcg@10")) is not None]
    seconds = sum(v for r in found for stage, v in r.seconds.items() if stage != "cpu")
    return f"nDCG@10 {np.mean(values):.4f}  {seconds:.0f} s" if values else "no metric"
