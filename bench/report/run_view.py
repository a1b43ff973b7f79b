"""Content of the page of a run, ready for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import records
from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY
from bench.boards.rows import COSTS
from bench.report import run_charts
from bench.report.charts import Chart
from bench.report.text import NONE, number, percent, printable, printable_lines, short
from protocols import json_text

RECORD_TITLES = (
    *("seed", "fold", "status", "nDCG@10", "HR@10", "warm", "cold", "epochs"),
    *("search s", "refit s", "rank s"),
)


@dataclass(frozen=True)
class RunView:
    """Content of a run's page; lists of pairs are terms with their values."""

    run: CellResults
    simulated: bool
    facts: list[tuple[str, str]]
    records: list[list[str]]
    errors: list[str]
    charts: list[Chart]
    notes: list[str]
    features: list[tuple[str, str]]
    checkpoints: str
    audit: dict[str, Any]
    options: list[tuple[str, list[tuple[str, str]]]]
    environment: list[tuple[str, str]]
    record: str
    explained: dict[str, Any] | None = None
    record_titles: tuple[str, ...] = field(default=RECORD_TITLES)


def make(run: CellResults, costs: Mapping[str, float | None], explained: dict[str, Any] | None = None) -> RunView:
    """Prepare a run.

    Parameters
    ----------
    costs
        Of its row, see `bench.boards.rows.COSTS`; empty for a row that is not ranked.
    explained
        As `bench.report.explanations.for_page` gives it; None: nothing is known.
    """
    found, first = list(run.found.values()), run.any_record
    drawn = run_charts.of_run(run) + (explained or {}).get("charts", [])
    held = {chart.id for chart in drawn}
    notes = []
    if "search-curve" not in held and "refit-curve" not in held and first.training.get("epochs"):
        notes.append("These records hold no learning curves: compact copies leave them out.")
    if "slices" not in held:
        notes.append(
            "These records hold no ranks of targets, from which slices are computed: compact copies leave them out."
        )
    audit = [verdict for record in found for verdict in record.audit]
    return RunView(
        run,
        first.simulated,
        _facts(run, costs),
        [record_row(record) for record in found],
        [printable_lines(record.error) for record in found if record.error],
        drawn,
        notes,
        _features(first.features),
        records.checkpoints(first),
        {
            "passed": sum(bool(verdict["ok"]) for verdict in audit),
            "all": len(audit),
            "failed": [verdict for verdict in audit if not verdict["ok"]],
        },
        [(kind, _pairs(options)) for kind, options in run.cell.options.items() if options],
        _environment(run),
        json_text.dumps(asdict(first), indent=1),
        explained,
    )


def _facts(run: CellResults, costs: Mapping[str, float | None]) -> list[tuple[str, str]]:
    first = run.any_record
    return [
        ("Dataset", f"{first.dataset.get('name', run.cell.dataset)} {first.dataset.get('version', '')}".strip()),
        ("Licence of the data", str(first.dataset.get("licence", NONE))),
        (
            "Users, items, interactions",
            ", ".join(short(first.dataset.get(k)) for k in ("users", "items", "interactions")),
        ),
        ("Protocol", run.cell.protocol),
        ("Board", run.board),
        *((COSTS[key], short(costs.get(key))) for key in ("parameters", "train", "memory")),
    ]


def record_row(record: Any) -> list[str]:
    """Write a row of the table of seeds and folds, see `RECORD_TITLES`."""
    metrics, seconds = record.metrics, record.seconds
    return [
        str(record.seed or NONE),
        str(record.fold),
        printable(record.status),
        *(number(metrics.get(name)) for name in (PRIMARY, "hr@10", f"{PRIMARY}_warm", f"{PRIMARY}_cold")),
        str(record.training.get("epochs") or NONE),
        *(number(seconds.get(name), 1) for name in ("search", "refit", "rank")),
    ]


def _features(features: dict[str, Any]) -> list[tuple[str, str]]:
    if not features:
        return []
    status = ", ".join(f"{name} {count}" for name, count in features.get("status", {}).items())
    return [
        ("Space", str(features.get("space", NONE))),
        ("Shape", " x ".join(map(str, features.get("shape", []))) or NONE),
        ("Items covered in this fold", percent(features.get("coverage"))),
        ("Items by status", status or NONE),
        ("Bytes an item", short(features.get("bytes_per_item"))),
        ("Extraction, seconds an item", short(features.get("seconds_per_item"))),
        ("Degenerate", str(features.get("degenerate") or "no")),
    ]


def _pairs(options: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (key, json_text.dumps(value) if isinstance(value, dict | list) else str(value))
        for key, value in options.items()
    ]


def _environment(run: CellResults) -> list[tuple[str, str]]:
    first = run.any_record.environment
    packages = first.get("packages", {})
    commits = sorted(
        {
            f"{str(r.environment.get('commit'))[:12]}{' dirty' if r.environment.get('dirty') else ''}"
            for r in run.found.values()
        }
    )
    return [
        ("Commit", ", ".join(commits)),
        ("Python", str(first.get("python", NONE))),
        ("Machine", str(first.get("machine", NONE))),
        ("Cores, threads", f"{first.get('cores', NONE)}, {first.get('threads', NONE)}"),
        ("Device", run.any_record.device),
        *((name, str(version)) for name, version in packages.items() if version),
    ]
