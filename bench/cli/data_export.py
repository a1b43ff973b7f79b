"""`bench data export`: the folds of a protocol as files for other software."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared


@click.command(epilog="Example: bench data export --dataset ml-100k --protocol rolling-7d --format recbole -o folds")
@click.option("--protocol", metavar="NAME", default="rolling-7d", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "rectools", "recbole"]), default="csv", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A folder that is not there yet.")
@shared.world
@shared.folders
def export(
    protocol: str, form: str, out: Path, dataset: str | None, sets: tuple[str, ...], cache: str | None,
    results: str | None,
) -> None:  # fmt: skip
    """Write what may be learned from in every fold, the users to recommend to, their targets and the candidates.

    For each fold there are two folders, fold-N-validation (to choose epochs and options on) and fold-N-test. What
    other software recommends to the users of fold-N-test comes back with `bench import`.
    """
    shared.check_names(sets, dataset=dataset, protocol=protocol)
    from bench.runs import fold_export
    from bench.runs import run as runs

    request = runs.Request(
        rows=[],
        cache=settings.cache_folder(cache),
        results=settings.results_folder(results),
        dataset=dataset or "demo",
        protocol=protocol,
        options=settings.parse_sets(sets),
    )
    context, _ = runs.prepare(request, console.progress())
    for line in fold_export.export(context, form, out):
        click.echo(line)
