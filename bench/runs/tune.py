"""Fair tuning: one space, one number of trials and one rule for every row, controls included.

An under-tuned `id` row makes any feature look good, so no row is tuned alone. Trials are judged on the validation
window of the earliest fold, strictly before every test window, and what is found there is frozen for all folds.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.runs import run as runs
from bench.runs import worker
from bench.runs.context import Job, RunContext
from bench.runs.engines import RayEngine, drive, end_processes
from bench.runs.rows import RowSpec
from protocols.errors import BenchError, DataError, UserError, did_you_mean
from protocols.evaluation import ranking, user_sample
from protocols.hashing import digest
from protocols.progress import Progress
from protocols.ranking_problem import Scorer
from recommenders.base import Range, Recommender

#: An optimum this near to an end of its range, as a share of the range, is said to lie at its edge.
EDGE = 0.05
#: The best trials of each row that are judged again on all users, where trials see a sample of them.
FINALISTS = 3
#: Epochs before which no trial ends early: until then many a model ranks by popularity.
LEAST_EPOCHS = 8
#: Trials drawn at random before the sampler looks at what they gave, as a share of the budget.
RANDOM_SHARE = 0.4


@dataclass(frozen=True)
class Budget:
    """Trials of each row.

    Attributes
    ----------
    trials
        Fits with early stopping; the first one has the options the row would have without tuning.
    halving
        Whether a trial ends early that is behind the better half at epochs 8, 16, 32, ... (successive halving).
    seed
        Of the draws, and of the fits.
    """

    trials: int = 20
    halving: bool = False
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Task:
    """Row to tune in a worker process.

    Attributes
    ----------
    row
        The row as it was asked for.
    job
        Its first seed on the earliest fold.
    space
        Range of each option.
    path
        Journal of its trials, which a later run with the same path goes on with.
    first
        Options of the first trials; none: those that the row would have without tuning.
    """

    row: RowSpec
    job: Job
    space: Mapping[str, Range]
    budget: Budget
    path: Path
    first: Sequence[Mapping[str, Any]] = ()


def space_of(model: Recommender, given: Mapping[str, Sequence[Any]]) -> dict[str, Range]:
    """Return the ranges of a model's options: its own, with those that a user gives in their place.

    Parameters
    ----------
    given
        From an option to `[low, high]` or `[low, high, log]`.

    Raises
    ------
    UserError
        If the model has no such option, or a range makes no sense.
    """
    space = dict(model.space)
    for name, words in given.items():
        if name not in model.options():
            raise did_you_mean(f"option of {model.name}", name, model.options())
        space[name] = Range.parse(f"{model.name}.{name}", words)
    return space


def search(
    request: runs.Request, budget: Budget, spaces: Mapping[str, Mapping], progress: Progress
) -> dict[Task, dict[str, Any]]:
    """Tune every row that has anything to tune.

    A row whose best trial lies at an edge of its space has it widened there, once, and half as many trials more. Where
    the request samples users, the best `FINALISTS` of each row are judged again on all of them, and the best of those
    is taken: what is best for few users is too large or regularised too much for many.

    Parameters
    ----------
    request
        Rows, data and workers.
    spaces
        Ranges that a user gives, by model.

    Returns
    -------
    dict
        A report for each row that has options to tune, see `tune`; `finals` are the trials on all users.

    Raises
    ------
    UserError
        If a range makes no sense, or no row has an option to tune.
    """
    context, jobs = runs.prepare(request, progress)
    found = tasks(request, context, jobs, budget, spaces)
    reports = dict(zip(found, execute(context, found, request.jobs, progress, request.ray), strict=True))
    wider = {task: widened(task, reports[task]) for task in found if reports[task]["edges"]}
    again = execute(context, list(wider.values()), request.jobs, progress, request.ray) if wider else []
    for task, more in zip(wider, again, strict=True):
        reports[task] = joined(reports[task], more)
    if request.users is not None:
        request = replace(request, users=None)
        context, jobs = runs.prepare(request, progress)
        everyone = tasks(request, context, jobs, budget, spaces)
        finals = [final(task, reports[sampled]) for task, sampled in zip(everyone, found, strict=True)]
        for task, last in zip(found, execute(context, finals, request.jobs, progress, request.ray), strict=True):
            reports[task] |= {name: last[name] for name in ("options", "value")} | {"finals": last["trials"]}
    return reports


def tasks(
    request: runs.Request, context: RunContext, jobs: Sequence[Job], budget: Budget, spaces: Mapping[str, Mapping]
) -> list[Task]:
    """List the rows that have anything to tune, see `search`.

    Parameters
    ----------
    context, jobs
        Of the request, from `bench.runs.run.prepare`.
    """
    found = []
    for row, cell, model, extractor in context.by_size.rows:
        space = space_of(model, spaces.get(row.model.partition(":")[0], {}))
        if not space:
            continue
        seed = runs.seeds_of([budget.seed], model, extractor)[0]
        job = next(u for u in jobs if (u.cell.id, u.fold, u.seed) == (cell.id, 0, seed))
        found.append(Task(row, job, space, budget, _journal(context.results / cell.folder, job, space, budget)))
    if not found:
        raise UserError("no row has anything to tune", remedy="name a model with options, such as sasrec")
    return found


def _journal(
    folder: Path, job: Job, space: Mapping[str, Range], budget: Budget, first: Sequence[Mapping[str, Any]] = ()
) -> Path:
    written = {name: [r.low, r.high, r.log] for name, r in sorted(space.items())}
    return folder / f"tuning-{digest([job.search_key, written, budget.halving, *first], 12)}.log"


def widened(task: Task, report: Mapping[str, Any]) -> Task:
    """Make the task that goes on beyond the edges at which the best trial of a report lies."""
    best = report["options"]
    space = {name: r.widened(best[name], EDGE) if name in report["edges"] else r for name, r in task.space.items()}
    budget = replace(task.budget, trials=math.ceil(task.budget.trials / 2))
    return replace(
        task, space=space, budget=budget, path=_journal(task.path.parent, task.job, space, budget, [best]), first=[best]
    )


def final(task: Task, report: Mapping[str, Any]) -> Task:
    """Make the task that judges the best trials of a report again, on other data."""
    done = sorted((t for t in report["trials"] if t["value"] is not None), key=lambda t: -t["value"])
    first = [trial["options"] for trial in done[:FINALISTS]]
    space = {name: Range.parse(name, words) for name, words in report["space"].items()}
    budget = replace(task.budget, trials=max(1, len(first)), halving=False)
    path = _journal(task.path.parent, task.job, space, budget, first)
    return replace(task, space=space, budget=budget, path=path, first=first)


def joined(report: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Join the report of a row with that of its widened space; the trial that both have counts once."""
    better = more if (more["value"] or 0) > (report["value"] or 0) else report
    chosen = {name: better[name] for name in ("options", "value")}
    return {**more, **chosen, "trials": [*report["trials"], *more["trials"][1:]], "budget": report["budget"]}


def execute(
    context: RunContext, found: Sequence[Task], processes: int, progress: Progress, ray: str = ""
) -> list[dict[str, Any]]:
    """Tune rows in parallel processes, or on a Ray cluster; what is done stays in their journals.

    Returns
    -------
    list
        One report a row, as `tune` makes it, in the order of the tasks.
    """
    if ray:
        return _on_cluster(context, found, progress, ray)
    spawn, reports = multiprocessing.get_context("spawn"), {}
    queue = spawn.SimpleQueue()
    with (
        progress.task("tune", sum(task.budget.trials for task in found)) as bar,
        ProcessPoolExecutor(
            max(1, min(processes, len(found))), mp_context=spawn, initializer=_start, initargs=(context, queue)
        ) as pool,
    ):
        futures = {pool.submit(work, task): task for task in found}
        left = set(futures)
        try:
            while left:
                done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
                while not queue.empty():
                    label, trials = queue.get()
                    bar.advance(trials, note=label)
                for future in done:
                    report = reports[futures[future]] = future.result()
                    progress.say(f"{futures[future].job.cell.label:<44} {summary(report)}")
        except KeyboardInterrupt:
            end_processes(pool)
            raise
    return [reports[task] for task in found]


def _on_cluster(context: RunContext, found: Sequence[Task], progress: Progress, ray: str) -> list[dict[str, Any]]:
    reports: dict[Task, dict[str, Any]] = {}

    def finish(task: Task, report: dict[str, Any]) -> bool:
        reports[task] = report
        bar.advance(task.budget.trials, note=task.job.cell.label)
        progress.say(f"{task.job.cell.label:<44} {summary(report)}")
        return True

    def died(task: Task) -> None:
        raise BenchError(f"the processes that tuned {task.job.cell.label} died again and again (out of memory?)")

    with (
        progress.task("tune", sum(task.budget.trials for task in found)) as bar,
        RayEngine(ray, tune, context, context.results, context.device, cpus=context.threads) as cluster,
    ):
        drive(cluster, found, finish, died)
    return [reports[task] for task in found]


def summary(report: Mapping[str, Any]) -> str:
    """Write one line about a tuned row."""
    if report["value"] is None:
        return f"no trial of {len(report['trials'])} succeeded: {report['trials'][0]['error']}"
    first = report["trials"][0]["value"]
    edges = f"  at the edge of its range: {', '.join(report['edges'])}" if report["edges"] else ""
    untuned = "failed" if first is None else f"{first:.4f}"
    return f"nDCG@10 {report['value']:.4f} (untuned {untuned}) of {len(report['trials'])} trials{edges}"


_queue: Any = None  # of a worker process: takes (label of the row, number of trials)


def _start(context: RunContext, queue: Any) -> None:
    global _queue
    worker.start(context)
    _queue = queue


def work(task: Task) -> dict[str, Any]:
    """Tune one row in a process that `_start` has prepared."""
    return tune(worker.prepared(), task, lambda trials: _queue.put((task.job.cell.label, trials)))


def tune(context: RunContext, task: Task, on_trials: Callable[[int], None] = lambda trials: None) -> dict[str, Any]:
    """Run the trials of a row that its journal does not hold yet.

    Parameters
    ----------
    on_trials
        Called with a number of trials whenever so many more are done.

    Returns
    -------
    dict
        JSON-able: `options` chosen, `value` (validation nDCG@10), `edges`, `space`, `budget`, `chosen_on`, and
        `trials`, each with `options`, `value` (None where it failed), `epochs` (kept) and `seen_epochs`, `pruned` and
        `error`.
    """
    import optuna
    import torch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(context.threads)
    task.path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{task.path}.held"):  # a second process waits: it would take living trials for those of a killed one
        return _tune(context, task, on_trials)


def _tune(context: RunContext, task: Task, on_trials: Callable[[int], None]) -> dict[str, Any]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    pruner = optuna.pruners.SuccessiveHalvingPruner(LEAST_EPOCHS, reduction_factor=2) if task.budget.halving else None
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(task.path))), study_name=task.job.cell.id,
            load_if_exists=True, direction="maximize", pruner=pruner or optuna.pruners.NopPruner(),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:  # of replaying its lines
        raise DataError(
            f"{task.path}, the trials of {task.job.cell.label}, cannot be read: {type(error).__name__}: {error}",
            remedy="delete it: the trials are then run again",
        ) from error
    for left in study.get_trials(states=(TrialState.RUNNING,)):  # a killed run leaves them; they do not count
        study.tell(left.number, state=TrialState.FAIL)
    plain = task.job.model.options()
    objective = _objective(context, task)
    count = len(_finished(study))
    on_trials(min(count, task.budget.trials))
    while count < task.budget.trials:
        # a sampler of its own for each trial: one that goes on after a kill draws what it would have drawn
        drawn_by = int(digest([task.budget.seed, count], 8), 16)
        study.sampler = optuna.samplers.TPESampler(
            seed=drawn_by, n_startup_trials=round(RANDOM_SHARE * task.budget.trials)
        )
        if not count:
            for options in task.first or [plain]:
                own = {name: type(plain[name])(r.clipped(options[name])) for name, r in task.space.items()}
                study.enqueue_trial(own, skip_if_exists=True)
        study.optimize(objective, n_trials=1, catch=(BenchError,))
        before, count = count, len(_finished(study))
        on_trials(count - before)
    return _report(task, _finished(study))


def _finished(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return [t for t in study.get_trials(states=states) if t.state != TrialState.FAIL or "error" in t.user_attrs]


def _objective(context: RunContext, task: Task) -> Callable[[Any], float]:
    fold = context.folds[0]
    problem = context.protocol.problem(context.dataset, fold, "validation")
    request = context.fit_request(task.job, problem, context.aligned(task.job, problem))
    ranker = ranking.Ranker(user_sample.for_validation(problem)[0], worker.TIE_SEED)

    def objective(trial: Any) -> float:
        import optuna

        options = {name: _draw(trial, name, r, task.job.model) for name, r in task.space.items()}
        best = 0.0

        def validate(scorer: Scorer) -> float:
            nonlocal best
            value = ranker.ndcg(scorer)
            best = max(best, value)
            return value

        def report(epoch: int, note: str) -> None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        model = replace(task.job.model, **options)
        try:
            fitted = model.fit(replace(request, validate=validate, report=report))
        except BenchError as error:
            trial.set_user_attr("error", str(error))
            raise
        trial.set_user_attr("epochs", fitted.epochs)
        if not model.trains_epochs:
            return ranker.ndcg(fitted.scorer)
        return max(note["ndcg@10"] for note in fitted.curve)

    return objective


def _draw(trial: Any, name: str, space: Range, model: Recommender) -> float:
    """Draw an option: a whole number where its default is one."""
    if isinstance(model.options()[name], int):
        return trial.suggest_int(name, math.ceil(space.low), math.floor(space.high), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)


def _report(task: Task, trials: Sequence[Any]) -> dict[str, Any]:
    from optuna.trial import TrialState

    found = [
        {
            "options": dict(trial.params),
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "best_seen": max(trial.intermediate_values.values(), default=None),
            "epochs": trial.user_attrs.get("epochs"),
            "seen_epochs": max(trial.intermediate_values, default=0),
            "pruned": trial.state == TrialState.PRUNED,
            "error": trial.user_attrs.get("error", ""),
        }
        for trial in trials
    ]
    best = max((t for t in found if t["value"] is not None), key=lambda t: t["value"], default=None)
    return {
        "options": best["options"] if best else {},
        "value": best["value"] if best else None,
        "edges": [name for name, r in task.space.items() if best and r.at_edge(best["options"][name], EDGE)],
        "space": {name: [r.low, r.high, "log"][: 3 if r.log else 2] for name, r in task.space.items()},
        "budget": {"trials": task.budget.trials, "halving": task.budget.halving, "seed": task.budget.seed},
        "chosen_on": "validation window of fold 0",
        "trials": found,
    }
