"""`bench grid`: a product of models, extractors and fusions with equal treatment, planned before it is run."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside


@click.command(epilog="Example: bench grid grid.yaml --plan")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan and stop.")
@click.option("--worker", is_flag=True, help="Share the work with other processes, on any machines; print no board.")
@click.option("--seeds", metavar="N|A,B", help="Number of seeds, or a list of them.  [default: 5]")
@shared.as_json
@shared.world
@shared.rank_users
@shared.checkpoints
@shared.workers
@shared.folders
def grid(
    file: Path,
    only_plan: bool,
    worker: bool,
    seeds: str | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    rank_users: int | None,
    cache: str | None,
    results: str | None,
    jobs: int | None,
    device: str | None,
    ray: str | None,
    **short: str | None,
) -> int:
    """Run all cells of a grid FILE in parallel, resumably; each is printed when it is done.

    FILE is YAML: `grid: {models: [pop, sasrec], extractors: [id, captions, "shuffled:captions"], fusions: [replace,
    gate], layers: [softmax]}`, `exclude: [{model: bpr, fusion: gate}]`, `rows` beside the product (each may have
    `options` of its model), and `dataset`, `protocol`, `seeds`, `set` as in `bench run --config`. Finished
    cells are not run again.

    Any number of processes may run the same grid at a time, on any machines that share the results folder (and the
    cache, so that features are made once): each computes what no other is computing, and all end when nothing is left.
    --worker is for those whose board nobody reads, such as the tasks of a SLURM array.
    """
    if only_plan:
        refuse_beside("--plan", ("--worker", "--json"))
    if worker:
        refuse_beside("--worker", ["--json"])
    sets = shared.with_rank_users(sets, rank_users)
    shared.check_names(sets, dataset=dataset)
    from bench.runs import cell_files

    content, rows = cell_files.read_grid(file)
    content.setdefault("seeds", cell_files.GRID_SEEDS)
    cache, results = shared.use_file(content, cache, results)
    as_json = as_json or content.get("json", False)
    chosen = cell_files.override(content, seeds=seeds, dataset=dataset, jobs=jobs, device=device, ray=ray)
    options = shared.row_options(chosen, sets, [row.extractor for row in rows], short)
    cell_files.check(chosen, rows, options)
    from bench.cli import run_result
    from bench.runs import catalogue_size, grid
    from bench.runs import run as runs

    checks = cell_files.checks_of(chosen, str(file))
    request = cell_files.request_of(chosen, rows, options, cache, results)
    bars = console.progress()
    if not worker:
        folds = grid.folds(request, bars)
        fitting = catalogue_size.fit(request.rows, runs.resolve(request), folds)
        click.echo(grid.plan_text(grid.plan(request, len(folds), fitting.rows), request.jobs), err=as_json)
    if only_plan:
        return 0
    if worker:
        return run_result.count(runs.run(request, bars))
    return run_result.show(runs.run(request, bars, grid.cell_announcer), request, as_json, checks)
