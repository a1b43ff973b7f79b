"""Guard of metrics for continuous integration: rerun small cells and compare with a committed baseline.

A baseline says what was run, what came out over several seeds and thread counts, and how far a rerun may be off.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench import check_report, records
from bench.boards import leaderboard
from bench.check_report import Difference
from bench.environment import environment as this_environment
from bench.runs.rows import RowSpec
from bench.runs.run import Request, run
from protocols import json_text
from protocols.atomic_write import write_atomically
from protocols.errors import BenchError, DataError
from protocols.evaluation.metrics import PRIMARY
from protocols.progress import Progress

METRICS = leaderboard.METRICS
SEEDS = (1, 2, 3, 4, 5)
THREADS = (1, 2)
DEVIATIONS = 3.0
# Counts that must match exactly: they move only when data or split change.
COUNTS = ("users", "targets")


@dataclass(frozen=True)
class Result:
    """All numbers beside the baseline's; and by row, where one is off, the changes and the users who differ."""

    differences: list[Difference]
    why: dict[str, list[str]]


@dataclass(frozen=True)
class _Measured:
    """Row with one seed: metrics and counts, fingerprints of its stages, and nDCG@10 by fold and user."""

    numbers: dict[str, float]
    fingerprints: dict[str, Any]
    users: pd.DataFrame


def check(baseline: Path, cache: Path, progress: Progress, jobs: int = 1, tolerance: float | None = None) -> Result:
    """Rerun the cells of a baseline with its first seed and compare.

    Features are extracted anew and nothing is served from earlier results: a broken extractor shows.

    Parameters
    ----------
    tolerance
        How far a metric may be off; None: as the baseline says. Counts must always match.

    Raises
    ------
    DataError
        If the file is not a baseline, or holds no numbers yet.
    BenchError
        If a cell fails.
    """
    content = read(baseline)
    if not content["cells"]:
        raise DataError(
            f"{baseline} guards no numbers yet",
            remedy=f"bench check --baseline {baseline} --update --reason 'first measurement'",
        )
    with tempfile.TemporaryDirectory(prefix="bench-check-") as scratch:
        request = _request(content["request"], cache, Path(scratch), jobs)
        found = _measure(request, progress)
    kept = _kept_users(baseline)
    differences: list[Difference] = []
    why: dict[str, list[str]] = {}
    for at, expected in enumerate(content["cells"]):
        label = RowSpec(**expected["row"])
        (measured,) = found[label]
        name = " ".join((label.model, label.extractor, label.fusion))
        mine = []
        for metric in METRICS:
            value = expected["metrics"][metric]
            allowed = value["tolerance"] if tolerance is None else tolerance
            mine.append(Difference(name, metric, value["mean"], measured.numbers[metric], allowed))
        mine += [Difference(name, c, expected["counts"][c], measured.numbers[c], 0.0) for c in COUNTS]
        differences += mine
        if not all(difference.ok for difference in mine):
            why[name] = check_report.changed(expected.get("fingerprints", {}), measured.fingerprints)
            if kept is not None:
                before = kept[kept["row"] == at].drop(columns="row")
                why[name] += check_report.first_users(before, measured.users)
    return Result(differences, why)


def update(baseline: Path, cache: Path, progress: Progress, command: str, reason: str, jobs: int = 1) -> dict[str, Any]:
    """Measure the baseline's request over seeds and thread counts and write means and tolerances into the file.

    Parameters
    ----------
    command
        The command line that does this, kept in the file.
    reason
        Why the numbers may change; kept with the date and the commit of every update.

    Returns
    -------
    dict
        The file's new content.
    """
    content = read(baseline)
    samples: dict[RowSpec, list[_Measured]] = {}
    for threads in THREADS:
        with tempfile.TemporaryDirectory(prefix="bench-check-") as scratch:
            request = _request(content["request"], cache, Path(scratch), max(1, jobs // threads))
            found = _measure(replace(request, seeds=SEEDS, threads=threads), progress)
        for row, cells in found.items():
            samples.setdefault(row, []).extend(cells)
    summary: list[dict[str, Any]] = []
    users: list[pd.DataFrame] = []
    for row, measured in samples.items():
        metrics = {}
        for metric in METRICS:
            values = [one.numbers[metric] for one in measured]
            sd = statistics.stdev(values)
            metrics[metric] = {"mean": statistics.fmean(values), "sd": sd, "tolerance": DEVIATIONS * sd}
        counts = {name: measured[0].numbers[name] for name in COUNTS}
        # rounding may depend on the number of threads, and the bits of features with it
        features = sorted({one.fingerprints["features"] for one in measured})
        made_from = {name: measured[0].fingerprints[name] for name in ("dataset", "split", "packages")}
        made_from["features"] = features
        summary.append({"row": row.__dict__, "metrics": metrics, "counts": counts, "fingerprints": made_from})
        users.append(measured[0].users.assign(row=len(summary) - 1))
    environment = this_environment()
    content |= {
        "command": command,
        "measured_over": {"seeds": list(SEEDS), "threads": list(THREADS), "tolerance_in_sd": DEVIATIONS},
        "made_with": {"commit": environment["commit"], "packages": environment["packages"]},
        "updates": [*content.get("updates", []), _entry(reason, environment)],
        "cells": summary,
    }
    per_user = pd.concat(users).astype({PRIMARY: "float32"})
    write_atomically(users_file(baseline), lambda part: per_user.to_parquet(part, index=False))
    write_atomically(baseline, json_text.dumps(content, indent=1) + "\n")
    return content


def users_file(baseline: Path) -> Path:
    """Path of nDCG@10 of every user of a baseline: `demo.users.parquet` beside `demo.json`."""
    return baseline.with_suffix(".users.parquet")


def _kept_users(baseline: Path) -> pd.DataFrame | None:
    """Read [row, fold, user_id, ndcg@10] of the first seed on one thread; None for a baseline that keeps none."""
    path = users_file(baseline)
    try:
        return pd.read_parquet(path) if path.exists() else None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}", remedy="bench check --update writes it anew") from error


def _entry(reason: str, environment: dict[str, Any]) -> dict[str, Any]:
    today = datetime.now(UTC).date().isoformat()
    return {"date": today, "reason": reason, "commit": environment["commit"]}


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
        rows=[RowSpec(**row) for row in spec["rows"]],
        cache=cache,
        results=scratch / "results",
        features=scratch / "features",
        dataset=spec.get("dataset", "demo"),
        protocol=spec.get("protocol", "rolling-7d"),
        seeds=(SEEDS[0],),
        options=spec.get("set", {}),
        jobs=jobs,
    )


def _measure(request: Request, progress: Progress) -> dict[RowSpec, list[_Measured]]:
    """Run once and read the results of each row of the request, seed by seed."""
    outcome = run(request, progress)
    per_row = len(outcome.paths) // len(request.rows)
    measured: dict[RowSpec, list[_Measured]] = {}
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
            users = pd.concat(
                records.users(path, ["user_id", PRIMARY]).assign(fold=record.fold) for path, record in found.items()
            )
            made_from = check_report.fingerprints(list(found.values()))
            measured.setdefault(row, []).append(_Measured(cell, made_from, users))
    return measured
