"""The guard for continuous integration: rerun small cells and compare with a committed baseline.

A baseline says what was run, what came out over several seeds and thread counts, and how far a rerun may be off.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import leaderboard, records
from bench.run import Request, Row, run
from protocols.errors import BenchError, DataError
from protocols.progress import Progress

METRICS = leaderboard.METRICS
SEEDS = (1, 2, 3, 4, 5)
THREADS = (1, 2)
DEVIATIONS = 3.0
# Counts that must match exactly: they move only when data or split change.
COUNTS = ("users", "targets")


@dataclass(frozen=True)
class Difference:
    """One number of a rerun beside the baseline's.

    Attributes
    ----------
    cell, what
        Which row, and which metric or count.
    expected, found, tolerance
        The rerun is off when |found - expected| > tolerance.
    """

    cell: str
    what: str
    expected: float
    found: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Within the tolerance."""
        return abs(self.found - self.expected) <= self.tolerance


def check(baseline: Path, cache: Path, progress: Progress, jobs: int = 1) -> list[Difference]:
    """Rerun the cells of a baseline with its first seed and compare.

    Features are extracted anew and nothing is served from earlier results: a broken extractor shows.

    Raises
    ------
    DataError
        If the file is not a baseline.
    BenchError
        If a cell fails.
    """
    content = read(baseline)
    with tempfile.TemporaryDirectory(prefix="bench-check-") as scratch:
        request = _request(content["request"], cache, Path(scratch), jobs)
        found = _measure(request, progress)
    differences = []
    for expected in content["cells"]:
        label = Row(**expected["row"])
        (cell,) = found[label]
        name = " ".join((label.model, label.extractor, label.fusion))
        for metric in METRICS:
            value = expected["metrics"][metric]
            differences.append(Difference(name, metric, value["mean"], cell[metric], value["tolerance"]))
        for count in COUNTS:
            differences.append(Difference(name, count, expected["counts"][count], cell[count], 0.0))
    return differences


def update(baseline: Path, cache: Path, progress: Progress, command: str, jobs: int = 1) -> dict[str, Any]:
    """Measure the baseline's request over seeds and thread counts and write means and tolerances into the file.

    Parameters
    ----------
    command
        The command line that does this, kept in the file.

    Returns
    -------
    dict
        The file's new content.
    """
    content = read(baseline)
    samples: dict[Row, list[dict[str, float]]] = {}
    for threads in THREADS:
        with tempfile.TemporaryDirectory(prefix="bench-check-") as scratch:
            request = _request(content["request"], cache, Path(scratch), jobs)
            found = _measure(replace(request, seeds=SEEDS, threads=threads), progress)
        for row, cells in found.items():
            samples.setdefault(row, []).extend(cells)
    summary: list[dict[str, Any]] = []
    for row, measured in samples.items():
        metrics = {}
        for metric in METRICS:
            values = [cell[metric] for cell in measured]
            sd = statistics.stdev(values)
            metrics[metric] = {"mean": statistics.fmean(values), "sd": sd, "tolerance": DEVIATIONS * sd}
        counts = {name: measured[0][name] for name in COUNTS}
        summary.append({"row": row.__dict__, "metrics": metrics, "counts": counts})
    environment = records.environment()
    content |= {
        "command": command,
        "measured_over": {"seeds": list(SEEDS), "threads": list(THREADS), "tolerance_in_sd": DEVIATIONS},
        "made_with": {"commit": environment["commit"], "packages": environment["packages"]},
        "cells": summary,
    }
    temporary = baseline.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(baseline)
    return content


def read(path: Path) -> dict[str, Any]:
    """Read a baseline file.

    Raises
    ------
    DataError
        If it is missing or not a baseline.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not content["request"]["rows"] or not isinstance(content.setdefault("cells", []), list):
            raise KeyError("rows")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a baseline: {type(error).__name__}: {error}",
            remedy="a baseline starts as {'request': {'dataset': ..., 'rows': [...]}}, then bench check --update",
        ) from error
    return content


def _request(spec: dict[str, Any], cache: Path, scratch: Path, jobs: int) -> Request:
    return Request(
        rows=[Row(**row) for row in spec["rows"]],
        cache=cache,
        results=scratch / "results",
        features=scratch / "features",
        dataset=spec.get("dataset", "demo"),
        protocol=spec.get("protocol", "rolling-7d"),
        seeds=(SEEDS[0],),
        options=spec.get("set", {}),
        jobs=jobs,
    )


def _measure(request: Request, progress: Progress) -> dict[Row, list[dict[str, float]]]:
    """Run once; metrics and counts of each row of the request, seed by seed."""
    outcome = run(request, progress)
    per_row = len(outcome.paths) // len(request.rows)
    measured: dict[Row, list[dict[str, float]]] = {}
    for index, row in enumerate(request.rows):
        by_seed: dict[int, dict[Path, records.Record]] = {}
        for path in outcome.paths[index * per_row : (index + 1) * per_row]:
            record = records.read(path)
            if record.status != "ok":
                raise BenchError(f"{row.model} {row.extractor} {row.fusion} failed: {record.error}")
            by_seed.setdefault(record.seed, {})[path] = record
        for found in by_seed.values():
            cell = dict(leaderboard.build(found).rows[0].mean)
            cell |= {count: float(sum(record.fold_info[count] for record in found.values())) for count in COUNTS}
            measured.setdefault(row, []).append(cell)
    return measured
