"""`bench grid`: a product of models, extractors and fusions with equal treatment, planned before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli import options as shared
from bench.cli.run import KEYS, options_of, read_after, request_of, show
from protocols.errors import UserError, did_you_mean

#: Keys of a grid file: those of `bench run --config` that are not about a single cell, and its own.
OWN = (*(key for key in KEYS if key not in ("extractor", "model", "fusion", "controls")), "grid", "exclude")


@click.command(epilog="Example: bench grid grid.yaml --plan")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan and stop.")
@click.option("--seeds", metavar="N|A,B", help="Number of seeds, or a list of them.")
@click.option("--json", "as_json", is_flag=True, help="Print the board as JSON.")
@shared.world
@shared.workers
@shared.folders
def grid(
    file: Path,
    only_plan: bool,
    seeds: str | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    jobs: int | None,
    device: str | None,
) -> int:
    """Run all cells of a grid FILE, in parallel, resumably; each is said when it is done.

    FILE is YAML: `grid: {models: [pop, sasrec], extractors: [id, captions, "shuffled:captions"], fusions: [replace,
    gate], layers: [softmax]}`, `exclude: [{model: bpr, fusion: gate}]`, `rows` beside the product (each may have
    `options` of its model), and `dataset`, `protocol`, `seeds`, `set` as in `bench run --config`. Cells that are there
    already are not run again.
    """
    from bench import console, registry
    from bench.runs import grid
    from bench.runs import run as runs

    content, rows = read(file)
    given = {"seeds": seeds, "dataset": dataset, "jobs": jobs, "device": device}
    chosen = {**content, **{key: value for key, value in given.items() if value is not None}}
    after = read_after(chosen, str(file))
    request = request_of(chosen, rows, options_of(chosen, sets), cache, results)
    bars = console.progress()
    plugin = registry.create("dataset", request.dataset, request.options)
    protocol = registry.create("protocol", request.protocol, runs.protocol_options(request))
    folds = len(protocol.split(plugin.load(request.cache, bars)))
    click.echo(_plan(grid.plan(request, folds), request), err=as_json)
    if only_plan:
        return 0
    return show(runs.run(request, bars, grid.cell_announcer), request, as_json, after)


def read(file: Path, more: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[Any]]:
    """Read a grid file: what it says, and its rows.

    Parameters
    ----------
    more
        Keys that it may hold beside its own.

    Raises
    ------
    UserError
        If it holds something else, naming the key; as `bench.runs.grid.expand`.
    """
    from bench import settings
    from bench.runs import grid
    from bench.runs.run import RowSpec

    content = settings.read_yaml(file)
    for key in content:
        if key not in (*OWN, *more):
            raise did_you_mean(f"key in {file}:", key, (*OWN, *more))
    axes, rules = content.get("grid", {}), content.get("exclude", [])
    if not isinstance(axes, dict) or not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise UserError(f"{file}: `grid` must be a mapping of lists, `exclude` a list of mappings")
    try:
        listed = [RowSpec(**row) for row in content.get("rows", [])]
    except TypeError as error:
        raise UserError(f"{file}: rows must be a list of {{model, extractor, fusion, options}}: {error}") from error
    if not axes and not listed:
        raise UserError(f"{file} lists neither `grid` nor `rows`", remedy="see `bench grid --help`")
    return content, list(dict.fromkeys([*(grid.expand(axes, rules) if axes else []), *listed]))


def _plan(cells: list[Any], request: Any) -> str:
    from tabulate import tabulate

    body = [
        [cell.label, cell.jobs, cell.done, "?" if cell.seconds is None else f"{cell.seconds:.0f} s"] for cell in cells
    ]
    table = tabulate(
        body, ["cell", "results", "there", "to do (one process)"], tablefmt="github", disable_numparse=True
    )
    known = [cell.seconds for cell in cells if cell.seconds is not None]
    total = sum(known) / max(1, request.jobs)
    unknown = len(cells) - len(known)
    guess = f"about {total / 60:.0f} min with {request.jobs} processes" if known else "time unknown"
    if known and unknown:
        guess += f", and {unknown} cells of which nothing like them has been run here"
    jobs, done = sum(cell.jobs for cell in cells), sum(cell.done for cell in cells)
    return f"{table}\n\n{len(cells)} cells, {jobs} results, {done} there: {guess}; extraction not counted\n"
