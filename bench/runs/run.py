"""Runs from dataset to records: every hand-over between the floors happens here, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import records, registry
from bench.cells import board_fingerprint, result_key
from bench.runs import catalogue_size, cluster_extraction, pool
from bench.runs import rows as row_specs
from bench.runs.context import Job, RunContext
from bench.runs.rows import RowSpec, check_model, protocol_options
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.media.remote_file import source_of
from feature_extractors.pipeline.devices import check_device
from feature_extractors.pipeline.resolution import near_spaces, resolve_chain, unlisted
from feature_extractors.store import uses
from protocols.dataset import Dataset, DatasetPlugin
from protocols.errors import BenchError, UserError
from protocols.evaluation import metrics
from protocols.features import Features
from protocols.progress import Progress
from protocols.ranking_problem import Fold
from protocols.splitting.base import ProtocolPlugin
from recommenders.base import Recommender, code_version

# The seed of rows whose result does not depend on one: they run once, whatever seeds are asked for.
UNSEEDED = (0,)


@dataclass(frozen=True)
class Request:
    """Rows to compute, and the folders and processes to do it with.

    Attributes
    ----------
    rows
        Cells to compute, each over all seeds and folds.
    seeds
        Seeds of recommenders and seeded controls.
    options
        Option values by plug-in name.
    cache, results
        Folders, see `bench.settings`.
    jobs, threads
        Worker processes and torch threads in each.
    features
        Feature store; None: the one in the cache folder.
    passed
        Options as the user typed them, for the record.
    users
        Only this many users of the dataset, drawn at random; None: all.
    ray
        Address of a Ray cluster that extracts and trains, see `bench.runs.engines`; "": this machine.
    """

    rows: Sequence[RowSpec]
    cache: Path
    results: Path
    dataset: str = "demo"
    protocol: str = "rolling-7d"
    seeds: Sequence[int] = (1,)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    device: str = "cpu"
    jobs: int = 1
    threads: int = 1
    features: Path | None = None
    passed: dict[str, Any] = field(default_factory=dict)
    users: int | None = None
    ray: str = ""


@dataclass(frozen=True)
class Outcome:
    """Records of a run, and the time it took.

    Attributes
    ----------
    paths
        Record files of all jobs, computed or served from cache.
    board
        Fingerprint that all of them share.
    cached
        How many were served from earlier runs.
    seconds
        Wall seconds of the stages data, features, training.
    """

    paths: list[Path]
    board: str
    cached: int
    seconds: dict[str, float]


def run(
    request: Request,
    progress: Progress,
    callback_for: Callable[[Sequence[Job], Progress], Callable[[Job, Path], None]] | None = None,
) -> Outcome:
    """Compute every row x seed x fold that is not there yet.

    Parameters
    ----------
    callback_for
        Given all jobs, makes a function that is called with each job that is done and the path of its record.

    Returns
    -------
    Outcome
        A failed job is a record with status `failed`, never an exception.
    """
    clock = _Clock()
    context, jobs = prepare(request, progress, clock.lap)
    done = {job: context.record(job) for job in jobs}
    # Fold by fold: jobs that share one search for the number of epochs do not all wait for it at the same time. The
    # last fold has most to fit on and comes first, so that no process is left alone with a long job at the end; and
    # what its search leaves on the way is the refit of the fold before (`Job.fitted_by`).
    todo = sorted((job for job in jobs if not records.finished(done[job])), key=lambda job: -job.fold)
    on_done = callback_for(jobs, progress) if callback_for else lambda job, path: None
    for job in set(jobs) - set(todo):
        on_done(job, done[job])
    try:
        done |= pool.execute(context, todo, request.jobs, progress, on_done, request.ray)
    finally:
        context.remove_snapshots(todo)
    clock.lap("training")
    return Outcome([done[job] for job in jobs], context.board, len(jobs) - len(todo), clock.seconds)


def prepare(
    request: Request, progress: Progress, lap: Callable[[str], None] = lambda stage: None
) -> tuple[RunContext, list[Job]]:
    """Load and split the dataset, make the features, and list the jobs: all but the training.

    Parameters
    ----------
    lap
        Called with the name of each stage that is done.
    """
    registry.check_options(request.options)
    rows = resolve(request)
    plugin: DatasetPlugin = registry.create("dataset", request.dataset, request.options)
    protocol = registry.create("protocol", request.protocol, protocol_options(request.protocol, request.options))
    check_device(request.device)
    for cell, model, _ in rows:
        check_model(model, cell, request.device)
    resolve_chains(request, [extractor for _, _, extractor in rows], plugin.simulated, progress)
    dataset = plugin.load(request.cache, progress)
    if dataset.simulated != plugin.simulated:
        raise BenchError(
            f"dataset {plugin.name} is{'' if dataset.simulated else ' not'} simulated, and its plug-in says otherwise",
            remedy=f"set `simulated: ClassVar[bool] = {dataset.simulated}` in {type(plugin).__name__}",
        )
    if dataset.name != plugin.name:
        raise BenchError(
            f"dataset {plugin.name!r} loads data that are called {dataset.name!r}: records would hold two names",
            remedy=f"build it in {type(plugin).__name__} with Dataset.build(self.name, ...)",
        )
    if request.users is not None:
        dataset = dataset.sampled(request.users)
    folds = protocol.split(dataset)
    for note in fold_notes(fold.info for fold in folds):
        progress.say(f"{protocol.name}, {note}")
    by_size = catalogue_size.fit(request.rows, rows, folds, progress.say)
    board = board_fingerprint(dataset.fingerprint, protocol.name, protocol.options(), [f.fingerprint for f in folds])
    fitting = [fitting_search(protocol, folds, fold) for fold in folds]
    lap("data")

    source = item_source(plugin, dataset)
    store = request.features or request.cache / "features"
    features: dict[tuple[str, int | None], Features] = {}
    jobs: list[Job] = []
    for row, cell, model, extractor in by_size.rows:
        for seed in seeds_of(request.seeds, model, extractor):
            place = None
            if extractor is not None:
                place = (cell.extractor, seed if extractor.per_seed else None)
                if place not in features:
                    how = ExtractContext(store, request.device, progress, seed, threads=request.threads)
                    features[place] = extract(extractor, source, how, request.ray)
                    uses.note(store, features[place].space.id, request.dataset)
            content = features[place].digest if place is not None else None
            version = code_version(model, cell.fusion)
            key_of = partial(result_key, cell.id, version, seed, board, content, metrics.VERSION)
            searches = [key_of("search", fold.fingerprint) for fold in folds]
            for fold in folds:
                at, found = search_fold(protocol, folds, fold).index, fitting[fold.index]
                fits = searches[found.index] if found else ""
                key = key_of("test", fold.fingerprint)
                jobs.append(
                    Job(cell, model, extractor, place, seed, fold.index, key, at, searches[at], fits, row.tuning)
                )
    lap("features")

    context = RunContext(
        plugin,
        dataset,
        protocol,
        folds,
        board,
        features,
        request.cache,
        request.results,
        request.device,
        request.threads,
        passed=request.passed,
        by_size=by_size,
    )
    return context, jobs


def fold_notes(infos: Iterable[Mapping[str, Any]]) -> list[str]:
    """Collect what folds say of their validation windows, and the last one of releases that are unknown."""
    infos = list(infos)
    found = [f"fold {at}: {info['validation_note']}" for at, info in enumerate(infos) if info.get("validation_note")]
    return found + [f"releases: {info['release_note']}" for info in infos[-1:] if info.get("release_note")]


def search_fold(protocol: ProtocolPlugin, folds: Sequence[Fold], fold: Fold) -> Fold:
    """Return the fold on whose validation window the epochs of another fold are chosen: its own or the earliest."""
    return folds[0] if getattr(protocol, "epochs_from", "each") == "earliest" else fold


def fitting_search(protocol: ProtocolPlugin, folds: Sequence[Fold], fold: Fold) -> Fold | None:
    """Return the fold whose search fits just what a fold is refitted on, if there is one.

    It is the next one, whose validation window is the window that this one ranks, or the fold itself where a protocol
    has no refit.
    """
    for other in folds[fold.index : fold.index + 2]:
        same = other is fold or other.window("validation") == fold.window("test")
        if same and np.array_equal(other.fit, fold.refit) and search_fold(protocol, folds, other) is other:
            return other
    return None


def item_source(plugin: DatasetPlugin, dataset: Dataset) -> ItemSource:
    """Take what extractors may see from a dataset: ids, titles and media; neither interactions nor popularity."""
    items = dataset.items
    titles = [t if isinstance(t, str) else None for t in items["title"]] if "title" in items else [None] * len(items)
    named = items["video"] if "video" in items else [None] * len(items)
    videos = [source_of(video) if isinstance(video, str) else None for video in named]
    truth = (lambda: plugin.truth_texts(dataset)) if dataset.simulated else None
    return ItemSource(list(items.index), titles, videos, truth)


def resolve(request: Request) -> list[tuple[records.Cell, Recommender, Extractor | None]]:
    """Make the cells of a request with their plug-ins.

    Raises
    ------
    UserError
        If a name, an option or a fusion makes no sense.
    """
    return [
        row_specs.resolve(row, request.dataset, request.protocol, request.options, request.device)
        for row in request.rows
    ]


def resolve_chains(
    request: Request, extractors: Iterable[Extractor | None], simulated: bool, progress: Progress
) -> None:
    """Resolve checkpoints, prompts and options of all stages before data are loaded; name stored spaces that are near.

    Raises
    ------
    UserError
        As `pipeline.resolution.resolve_chain`.
    """
    context = ExtractContext(request.features or request.cache / "features", request.device)
    by_label = {extractor.label: extractor for extractor in extractors if extractor is not None}
    spaces = {space.id: space for one in by_label.values() for space in resolve_chain(one, context, simulated)}
    chain = list(spaces.values())
    for line in (*unlisted(chain), *near_spaces(chain, context)):
        progress.say(line)


def extract(extractor: Extractor, source: ItemSource, context: ExtractContext, ray: str = "") -> Features:
    """Return an extractor's features of all items, extracted here or on a Ray cluster.

    Raises
    ------
    UserError
        If it makes none, or no item has one.
    """
    features = (
        cluster_extraction.extract(extractor, source, context, ray)
        if ray and not extractor.per_seed
        else extractor.extract(source, context)
    )
    if features is None:
        raise UserError(f"extractor {extractor.name!r} makes no features")
    if not features.ok.any():
        reasons = sorted(set(features.reason.astype(str)))[:3]
        raise UserError(f"extractor {extractor.name!r}: no item has a feature ({'; '.join(reasons)})")
    return features


def seeds_of(seeds: Sequence[int], model: Recommender, extractor: Extractor | None) -> Sequence[int]:
    """Return those seeds of a run that make a difference to a row: none do if neither model nor features draw."""
    return seeds if model.seeded or (extractor is not None and extractor.per_seed) else UNSEEDED


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now
