"""Grids: cells as a product with exclusions, planned before they are run, each said when it is done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.boards import records
from bench.runs import run as runs
from bench.runs.worker import Unit
from protocols.errors import UserError, did_you_mean
from protocols.progress import Progress
from recommenders.encoder.fusions import Fusion

AXES = ("models", "extractors", "fusions", "layers")


def expand(grid: Mapping[str, Any], exclude: Sequence[Mapping[str, str]] = ()) -> list[runs.Row]:
    """Multiply out a grid; what cannot be is left out without a word, what is excluded because it was asked for.

    A model that uses no features and the extractor `id` stand once; an extractor of vectors with every fusion; one of
    layers with every fusion and every way to choose among layers. A model that knows items by their features alone
    stands with `replace` for every extractor of features, whatever the fusions; of layers with each single one. The
    fusion `cross-attention` stands with extractors that join two others.

    Parameters
    ----------
    grid
        Lists under `models`, `extractors`, `fusions` and, for extractors of layers, `layers`.
    exclude
        Rows that match all the words of one of these (`model`, `extractor`, `fusion`) are left out.

    Raises
    ------
    UserError
        If an axis or a plug-in is unknown, or nothing is left.
    """
    for axis in grid:
        if axis not in AXES:
            raise did_you_mean("axis of the grid", axis, AXES)
    axes = {axis: [str(value) for value in _list(grid.get(axis, []), axis)] for axis in AXES}
    extractors, fusions = axes["extractors"] or ["id"], axes["fusions"] or ["gate"]
    rows: list[runs.Row] = []
    for name in axes["models"] or ["sasrec"]:
        if not registry.load("model", name.partition(":")[0]).uses_features:  # type: ignore[attr-defined]
            rows.append(runs.Row(name))
            continue
        for extractor in extractors:
            feature = registry.load("extractor", registry.innermost("extractor", extractor)).feature  # type: ignore[attr-defined]
            only = runs.content_only(name)
            able = [kind for kind in fusions if kind != "cross-attention" or runs.two_views(extractor)]
            kinds, layers = (["replace"] if only else able), axes["layers"] or ["softmax"]
            if feature == "-":
                rows += [] if only else [runs.Row(name, extractor, "id")]
            elif feature == "layers":
                made = [f"{kind}/{how}" for kind, how in product(kinds, layers)]
                rows += [runs.Row(name, extractor, f) for f in made if not only or Fusion.parse(f).layer is not None]
            else:
                rows += [runs.Row(name, extractor, kind) for kind in kinds]
    kept = [row for row in dict.fromkeys(rows) if not any(_matches(row, rule) for rule in exclude)]
    if not kept:
        raise UserError("the grid is empty: everything is excluded")
    return kept


def _list(value: Any, axis: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"grid.{axis} must be a list, got {value!r}")
    return value


def _matches(row: runs.Row, rule: Mapping[str, str]) -> bool:
    for key in rule:
        if key not in ("model", "extractor", "fusion"):
            raise did_you_mean("key of an exclusion", key, ("model", "extractor", "fusion"))
    return all(getattr(row, key) == value for key, value in rule.items())


@dataclass(frozen=True)
class Planned:
    """One cell before it is run.

    Attributes
    ----------
    label
        Model, extractor and fusion.
    units
        Seeds times folds.
    done
        How many of them have a result in the results folder; one made from other features counts here and is made
        anew when it comes to it.
    seconds
        What the others will take in one process, from past records; None: nothing like it has been run here.
    """

    label: str
    units: int
    done: int
    seconds: float | None


def plan(request: runs.Request, folds: int) -> list[Planned]:
    """What a run would do, without extracting or training anything.

    Parameters
    ----------
    folds
        Of the protocol on the dataset.
    """
    past = _past(request.results)
    out = []
    for cell, model, _ in runs.resolve(request):
        seeds = request.seeds if model.seeded else runs.UNSEEDED
        units = folds * len(seeds)
        found = [records.read(path) for path in records.find(request.results / cell.folder)]
        done = len({(r.seed, r.fold) for r in found if r.status == "ok" and r.seed in seeds and r.fold < folds})
        each = past(cell)
        left = units - done
        out.append(Planned(cell.label, units, done, None if each is None else each * left))
    return out


def _past(results: Path) -> Callable[[records.Cell], float | None]:
    """Median seconds of a unit by what is most alike: the cell, its model and fusion, its model."""
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for path in records.find(results):
        record = records.read(path)
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


def teller(units: Sequence[Unit], progress: Progress) -> Callable[[Unit, Path], None]:
    """Make a function to call with every finished unit, which says each cell when the last of its units is done."""
    left = Counter(unit.cell.id for unit in units)
    total, found = len(left), defaultdict(list)

    def tell(unit: Unit, path: Path) -> None:
        found[unit.cell.id].append(records.read(path))
        left[unit.cell.id] -= 1
        if left[unit.cell.id]:
            return
        done = sum(count == 0 for count in left.values())
        progress.say(f"[{done}/{total}] {unit.cell.label:<44} {_outcome(found[unit.cell.id])}")

    return tell


def _outcome(found: Iterable[records.Record]) -> str:
    found = list(found)
    failed = [record for record in found if record.status != "ok"]
    if failed:
        return f"failed ({len(failed)} of {len(found)}): {failed[0].error.splitlines()[0]}"
    values = [value for r in found if (value := r.metrics.get("ndcg@10")) is not None]
    seconds = sum(v for r in found for stage, v in r.seconds.items() if stage != "cpu")
    return f"nDCG@10 {np.mean(values):.4f}  {seconds:.0f} s" if values else "no metric"
