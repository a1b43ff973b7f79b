"""`bench tune`: options of every row from the same space with the same budget, on the earliest validation window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bench.cli import options as shared
from bench.cli.grid import read
from bench.cli.run import options_of, request_of
from protocols.errors import UserError


@click.command(epilog="Example: bench tune grid.yaml --trials 20 --out tuned.yaml && bench grid tuned.yaml")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="Fits of each row.")
@click.option("--halving", is_flag=True, help="End trials early that are behind the better half (successive halving).")
@click.option("--users", type=click.IntRange(1), help="Tune on this many users, drawn at random.  [default: all]")
@click.option("--seed", type=int, default=1, show_default=True, help="Of draws and fits.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Grid file to write.  [default: FILE with -tuned in its name]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON.")
@shared.world
@shared.workers
@shared.folders
def tune(
    file: Path,
    trials: int,
    halving: bool,
    users: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    jobs: int | None,
    device: str | None,
) -> int:
    """Tune every row of a grid FILE with the same budget, and write a grid file with what was found.

    FILE is one of `bench grid`, and may give ranges in place of a model's own: `space: {sasrec: {lr: [0.001, 0.03,
    log], dropout: [0, 0.5]}}`. Trials are judged on the validation window of the earliest fold; no test window is
    looked at. Stopped and started again, it goes on where it was; with more --trials it adds to what is there.
    """
    import dataclasses

    import yaml
    from tabulate import tabulate

    from bench import console
    from bench.runs import run as runs
    from bench.runs import tune as tuning

    out = out or file.with_name(f"{file.stem}-tuned.yaml")
    content, rows = read(file, ("space",))
    given = {"dataset": dataset, "jobs": jobs, "device": device, "seeds": str(seed) + ","}
    chosen = {**content, **{key: value for key, value in given.items() if value is not None}}
    spaces = chosen.pop("space", {})
    if not isinstance(spaces, dict) or not all(isinstance(space, dict) for space in spaces.values()):
        raise UserError(f"{file}: `space` must map models to ranges of their options")
    request = request_of(chosen, rows, options_of(chosen, sets), cache, results)
    request = dataclasses.replace(request, users=users)
    bars = console.progress()
    prepared, jobs_of_run = runs.prepare(request, bars)
    budget = tuning.Budget(trials, halving, seed)
    tasks = tuning.tasks(request, prepared, jobs_of_run, budget, spaces)
    reports = dict(zip((t.row for t in tasks), tuning.execute(prepared, tasks, request.jobs, bars), strict=True))
    for report in reports.values():
        report["budget"]["users"] = users
    written: dict[str, Any] = {key: content[key] for key in ("dataset", "protocol", "seeds", "set") if key in content}
    written["rows"] = [_row(row, reports.get(row)) for row in rows]
    with out.open("w", encoding="utf-8") as stream:
        stream.write(
            f"# Made by `bench tune {file.name}`: {trials} trials a row. Run it with `bench grid {out.name}`.\n"
        )
        yaml.safe_dump(written, stream, sort_keys=False, width=120, allow_unicode=True)
    if as_json:
        click.echo(json.dumps([_row(row, reports.get(row)) for row in rows]))
    else:
        body = [[t.job.cell.label, *_cells(reports[t.row])] for t in tasks]
        head = ["row", "untuned", "tuned", "options", "at the edge of its range"]
        click.echo(tabulate(body, head, tablefmt="github", disable_numparse=True))
        click.echo(f"\nnDCG@10 on the validation window of fold 0, {trials} trials a row; wrote {out}")
    return 0 if all(report["value"] is not None for report in reports.values()) else 1


def _row(row: Any, report: dict[str, Any] | None) -> dict[str, Any]:
    names = {"model": row.model, "extractor": row.extractor, "fusion": row.fusion}
    if report is None:
        return {**names, **({"options": dict(row.options)} if row.options else {})}
    return {**names, "options": {**row.options, **report["options"]}, "tuning": report}


def _cells(report: dict[str, Any]) -> list[str]:
    first, value = report["trials"][0]["value"], report["value"]
    options = ", ".join(f"{name} {value:.3g}" for name, value in report["options"].items())
    found = ["failed" if number is None else f"{number:.4f}" for number in (first, value)]
    return [*found, options, ", ".join(report["edges"])]
