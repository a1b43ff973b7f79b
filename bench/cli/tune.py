"""`bench tune`: options of every row from the same space with the same budget, on the earliest validation window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from bench import console
from bench.cli import options as shared
from protocols import json_text
from protocols.errors import UserError


@click.command(epilog="Example: bench tune grid.yaml --trials 20 --out tuned.yaml && bench grid tuned.yaml")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trials", type=click.IntRange(1), help="Fits of each row.  [default: 20]")
@click.option(
    "--halving/--no-halving", default=None, help="End trials early that are behind the better half.  [default: no]"
)
@click.option("--users", type=click.IntRange(1), help="Tune on this many users, drawn at random.  [default: all]")
@click.option("--seed", type=click.IntRange(1), help="Of draws and fits.  [default: 1]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Grid file to write.  [default: FILE with -tuned in its name]"
)
@shared.as_json
@shared.world
@shared.checkpoints
@shared.workers
@shared.folders
def tune(
    file: Path,
    trials: int | None,
    halving: bool | None,
    users: int | None,
    seed: int | None,
    out: Path | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    jobs: int | None,
    device: str | None,
    ray: str | None,
    **short: str | None,
) -> int:
    """Tune every row of a grid FILE with the same budget, and write a grid file with what was found.

    FILE is one of `bench grid`, and may give ranges in place of a model's own, `space: {sasrec: {lr: [0.001, 0.03,
    log], dropout: [0, 0.5]}}`, and the budget, `budget: {trials: 20, halving: true, users: 10000, seed: 1}`. Trials
    are scored on the validation window of the earliest fold; test windows are never used. A row whose best trial lies
    at an edge of its space gets half as many more beyond it; with --users, the three best of each row are judged again
    on all users. Started again it continues with the finished trials.
    """
    shared.check_names(sets, dataset=dataset)
    from bench.runs import cell_files

    out = out or file.with_name(f"{file.stem}-tuned.yaml")
    content, rows = cell_files.read_grid(file, ("space", "budget"))
    cache, results = shared.use_file(content, cache, results)
    as_json = as_json or content.get("json", False)
    given = {"trials": trials, "halving": halving, "users": users, "seed": seed}
    budget = cell_files.budget_of(content.pop("budget", {}), file, given)
    chosen = cell_files.override(
        content, dataset=dataset, jobs=jobs, device=device, ray=ray, seeds=f"{budget['seed']},"
    )
    spaces = chosen.pop("space", {})
    if not isinstance(spaces, dict) or not all(isinstance(space, dict) for space in spaces.values()):
        raise UserError(f"{file}: `space` must map models to ranges of their options")
    options = shared.row_options(chosen, sets, [row.extractor for row in rows], short)
    cell_files.check(chosen, rows, options)
    from bench.runs import tune, tuned_files

    request = cell_files.request_of(chosen, rows, options, cache, results)
    request = replace(request, users=budget["users"])
    searched = tune.Budget(budget["trials"], budget["halving"], budget["seed"])
    found = tune.search(request, searched, spaces, console.progress())
    reports = {task.row: report for task, report in found.items()}
    for report in reports.values():
        report["budget"]["users"] = budget["users"]
    tuned = tuned_files.write(out, file.name, content, rows, reports, budget["trials"])
    if as_json:
        click.echo(json_text.dumps(tuned))
    else:
        click.echo(tuned_files.table((task.job.cell.label, report) for task, report in found.items()))
        click.echo(f"\nnDCG@10 on the validation window of fold 0, {budget['trials']} trials a row; wrote {out}")
    return 0 if all(report["value"] is not None for report in reports.values()) else 1
