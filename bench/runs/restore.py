"""Restoring the trained model of a record, with its dataset, features and fold."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench import records, registry
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.context import Job, RunContext
from bench.runs.foreign_lists import Imported
from bench.runs.rows import RowSpec
from feature_extractors import published
from protocols.errors import DataError, UserError
from protocols.evaluation import metrics, ranking
from protocols.evaluation.fold_metrics import user_metrics
from protocols.progress import Progress
from protocols.ranking_problem import Problem, Scorer
from recommenders.base import FitResult


@dataclass(frozen=True, eq=False)
class Restored:
    """Job of a record, trained again or taken from kept weights.

    Attributes
    ----------
    context, job, problem
        Data it was trained and ranked on.
    fitted
        The trained model.
    kept
        True if its weights had been kept; otherwise it was trained again.
    users
        Per-user results of its scorer, now.
    largest
        Largest difference of a user's nDCG@10 to the record's; 0: they are the same, bit for bit.
    """

    context: RunContext
    job: Job
    problem: Problem
    fitted: FitResult
    kept: bool
    users: pd.DataFrame
    largest: float

    @property
    def origin(self) -> str:
        """Origin of the model and its largest difference to the record, for a reader."""
        how = "kept weights" if self.kept else "no weights were kept: trained again from the record, same seed"
        if self.largest == 0:
            return f"{how}; every user's nDCG@10 is the record's, bit for bit"
        return f"{how}; NOT the record's model: nDCG@10 of a user differs by up to {self.largest:.4f}"

    def rank(self, scorer: Scorer) -> pd.DataFrame:
        """Compute per-user results of a scorer on the test window."""
        return user_metrics(ranking.rank_users(scorer, self.problem, worker.TIE_SEED))


def request(
    record: records.Record, cache: Path, results: Path, places: Mapping[str, Mapping[str, Any]] | None = None
) -> runs.Request:
    """Make the request that gives a record, for its seed alone.

    Parameters
    ----------
    places
        Options by plug-in name that records leave out: where files lie on this machine.

    Raises
    ------
    UserError
        If the record is of imported lists, or a file that its extractor was given is not here.
    """
    cell = records.Cell(**record.cell)
    if cell.model.startswith(f"{Imported.name}:"):
        raise UserError(
            f"{cell.label} was imported: its lists are other software's, and there is no model here to restore",
            remedy="bench show, compare and diff read its records; name a row that was trained here",
        )
    options: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (places or {}).items()}
    for kind, name in (("dataset", cell.dataset), ("protocol", cell.protocol), ("model", cell.model.partition(":")[0])):
        options[name] = {**cell.options.get(kind, {}), **options.get(name, {})}
    extractor = _extractor(record, cell.extractor, options)
    if extractor != "-":
        _enter(options, extractor, cell.options.get("extractor", {}))
    options = {name: values for name, values in options.items() if values}
    row = RowSpec(cell.model, "id" if extractor == "-" else extractor, "id" if cell.fusion == "-" else cell.fusion)
    return runs.Request(
        [row], cache, results, cell.dataset, cell.protocol, (record.seed,), options, record.device,
        threads=int(record.environment.get("threads") or 1),
    )  # fmt: skip


def _extractor(record: records.Record, label: str, options: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the extractor of a record as it is typed here: with the files that --set, or the record, says."""
    files = [str(options[name]["path"]) for name in ("published", "published-texts") if "path" in options.get(name, {})]
    for _, one, _ in record.passed.get("rows", []):
        files += published.typed_files(str(one))
    spec = published.typed(label, [*files, *records.checkpoints(record).split(" + ")])
    for file in published.typed_files(spec):
        if not Path(file).expanduser().exists():
            own = "published-texts" if "published-texts" in spec else "published"
            raise UserError(
                f"{label} was made from the file {Path(file).name}, which is not here",
                remedy=f"--set {shlex.quote(f'{own}.path=FOLDER/{Path(file).name}')}",
            )
    return spec


def _enter(options: dict[str, dict[str, Any]], spec: str, recorded: Mapping[str, Any]) -> None:
    """Enter the options that a record has of an extractor, and of those that it wraps or joins; what is there wins."""
    name, _, rest = registry.parse(spec)
    plugin = registry.load("extractor", name)
    # the hash of a file is an option in records alone
    own = {key: value for key, value in recorded.items() if key not in ("name", "content")}
    wraps, joins = getattr(plugin, "wraps", ""), getattr(plugin, "joins", "")
    if wraps and rest:
        _enter(options, rest, own.pop(wraps, {}))
    for part, of_part in zip(registry.split(rest), own.pop(joins, []), strict=True) if joins else ():
        _enter(options, part, of_part)
    options[name] = {**own, **options.get(name, {})}


def job(record: records.Record, wanted: runs.Request, progress: Progress) -> tuple[RunContext, Job]:
    """Load and split the data, take the features, and find the record's job.

    Raises
    ------
    DataError
        If what there is now is not what the record was made from, naming the part.
    """
    ((cell, _, _),) = runs.resolve(wanted)
    if cell.id != records.Cell(**record.cell).id:
        where = _first_difference(cell.options, record.cell["options"])
        raise DataError(
            f"the options of this version are not the record's: {where}",
            remedy="run the cell again, or use the version that made the record",
        )
    context, jobs = runs.prepare(wanted, progress)
    if context.board != record.board:
        raise DataError(
            f"the record is of board {record.board}, dataset and protocol make board {context.board} here",
            remedy="the data are others, or the code of the protocol changed: run the cell again",
        )
    return context, next(one for one in jobs if one.fold == record.fold)


def restore(path: Path, wanted: runs.Request, progress: Progress) -> Restored:
    """Bring back the trained model of a record.

    Parameters
    ----------
    path
        Of the record.
    wanted
        From `request`.

    Raises
    ------
    UserError
        If the record is of a run that failed.
    DataError
        As `job`.
    """
    record = records.read(path)
    if record.status != "ok":
        raise UserError(f"{path.name} is the record of a run that failed: {record.failure}")
    context, found = job(record, wanted, progress)
    if found.model.trains_epochs:
        import torch

        torch.set_num_threads(context.threads)
    problem = context.protocol.problem(context.dataset, context.folds[found.fold], "test")
    features = context.aligned(found, problem)
    weights = context.weights(found)
    before = weights.stat().st_mtime_ns if weights.exists() else None
    with tempfile.TemporaryDirectory() as scratch, progress.task(f"{found.cell.label}, fold {found.fold}"):
        asked = replace(
            context.fit_request(found, problem, features),
            checkpoint=Path(scratch),
            epochs=record.training.get("epochs") or None,
            weights=weights,
            reuse=True,
        )
        fitted = found.model.fit(asked)
    kept = before is not None and weights.stat().st_mtime_ns == before
    users = user_metrics(ranking.rank_users(fitted.scorer, problem, worker.TIE_SEED))
    return Restored(context, found, problem, fitted, kept, users, _largest(users, records.users(path)))


def _largest(now: pd.DataFrame, then: pd.DataFrame) -> float:
    """Return the largest difference of a user's nDCG@10, which compact copies hold in half of the digits."""
    both = now.set_index("user_id")[metrics.PRIMARY], then.set_index("user_id")[metrics.PRIMARY]
    if not both[0].index.equals(both[1].index):
        return 1.0
    mine = both[0].astype(both[1].dtype)
    return float((mine - both[1]).abs().max()) if len(mine) else 0.0


def _first_difference(now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]]) -> str:
    for kind in sorted(now.keys() | then.keys()):
        mine, other = now.get(kind, {}), then.get(kind, {})
        for name in sorted(mine.keys() | other.keys()):
            if mine.get(name, "absent") != other.get(name, "absent"):
                return f"{kind}.{name} is {mine.get(name, 'absent')!r}, the record says {other.get(name, 'absent')!r}"
    return "names differ"
