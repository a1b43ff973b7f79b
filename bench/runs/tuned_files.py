"""Results of tuning: a grid file with the tuned options, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from bench.runs.rows import RowSpec

Report = dict[str, Any]


def write(
    out: Path,
    source: str,
    content: Mapping[str, Any],
    rows: Sequence[RowSpec],
    reports: Mapping[RowSpec, Report],
    trials: int,
) -> list[dict[str, Any]]:
    """Write a grid file of the rows with their tuned options; return these rows.

    Parameters
    ----------
    source, content, rows
        Name, content and rows of the grid file that was tuned.
    reports
        From `bench.runs.tune.search`; a row without one has nothing to tune.
    """
    tuned = [_row(row, reports.get(row)) for row in rows]
    written = {key: content[key] for key in ("dataset", "protocol", "seeds", "set") if key in content}
    with out.open("w", encoding="utf-8") as stream:
        stream.write(f"# Made by `bench tune {source}`: {trials} trials a row. Run it with `bench grid {out.name}`.\n")
        yaml.safe_dump({**written, "rows": tuned}, stream, sort_keys=False, width=120, allow_unicode=True)
    return tuned


def _row(row: RowSpec, report: Report | None) -> dict[str, Any]:
    names = {"model": row.model, "extractor": row.extractor, "fusion": row.fusion}
    if report is None:
        return {**names, **({"options": dict(row.options)} if row.options else {})}
    return {**names, "options": {**row.options, **report["options"]}, "tuning": report}


def table(reports: Iterable[tuple[str, Report]]) -> str:
    """Write labels and reports as a table: nDCG@10 before and after, the options, those at the edge of their range."""
    body = []
    for label, report in reports:
        values = ["failed" if v is None else f"{v:.4f}" for v in (report["trials"][0]["value"], report["value"])]
        options = ", ".join(f"{name} {value:.3g}" for name, value in report["options"].items())
        body.append([label, *values, options, ", ".join(report["edges"])])
    head = ["row", "untuned", "tuned", "options", "at the edge of its range"]
    return tabulate(body, head, tablefmt="github", disable_numparse=True)
