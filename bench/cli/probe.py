"""`bench probe`: linear probes of planted factors in features."""

from __future__ import annotations

import click

from bench import console, settings
from bench.cli import options as shared


@click.command(epilog="Example: bench probe --extractor captions --extractor titles --extractor truth")
@click.option(
    "--extractor", "extractors", required=True, multiple=True, metavar="NAME", help="May be given several times."
)
@shared.world
@shared.folders
def probe(
    extractors: tuple[str, ...], dataset: str | None, sets: tuple[str, ...], cache: str | None, results: str | None
) -> None:
    """Print the accuracy of linear probes of every planted factor, on simulated data only."""
    from bench.diagnostics import probe as probes

    options, folder = shared.plugin_options(sets), settings.cache_folder(cache, reading=True)
    click.echo(probes.report(extractors, dataset or "demo", options, folder, console.progress()))
