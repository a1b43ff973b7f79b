"""`bench import`: lists of other software as a row of our boards."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared


@click.command("import", epilog="Example: bench import lists.parquet --name their-model --dataset ml-100k")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, metavar="NAME", help="Of the row: its model is imported:NAME.")
@click.option("--protocol", metavar="NAME", default="rolling-7d", show_default=True)
@shared.as_json
@shared.world
@shared.folders
def import_lists(
    file: Path,
    name: str,
    protocol: str,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
) -> int:
    """Rank the lists in FILE (csv or parquet), which other software has recommended, on our folds.

    Columns: user_id, item_id, score or rank, fold (seed, from 1 on, where there are several). `bench data export`
    writes what the other software may learn from, the users to recommend to and the candidates of every fold. Lists
    with items that are no candidates or that their user has seen, with duplicates, or without a user are refused.
    """
    shared.check_names(sets, dataset=dataset, protocol=protocol)
    from bench.cli import run_result
    from bench.runs import cell_files
    from bench.runs import import_lists as runner
    from bench.runs import run as runs

    request = runs.Request(
        rows=[],
        cache=settings.cache_folder(cache),
        results=settings.results_folder(results),
        dataset=dataset or "demo",
        protocol=protocol,
        options=settings.parse_sets(sets),
        passed={"import": file.name, "name": name},
    )
    outcome = runner.import_lists(file, name, request, console.progress())
    return run_result.show(outcome, request, as_json, cell_files.Checks([], []))
