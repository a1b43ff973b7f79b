"""`bench report`: boards and runs as a static site."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared


@click.command(epilog="Example: bench report -o report/ --results results/boards")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("report"),
    show_default=True,
    help="Folder of the site; made if absent.",
)
@shared.boards
@shared.folders
def report(folder: Path, dataset: str | None, protocol: str | None, cache: str | None, results: str | None) -> None:
    """Write all boards and runs as a static site that opens from a file and needs no network."""
    from bench.report import site

    index = site.write(settings.results_folder(results, reading=True), folder, dataset, protocol, console.progress())
    click.echo(f"wrote {index}: open it in a browser")
