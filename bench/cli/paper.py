"""`bench paper`: boards as a folder of LaTeX."""

from __future__ import annotations

from pathlib import Path

import click

from bench import settings
from bench.cli import options as shared
from protocols.wording import counted


@click.command(epilog="Example: bench paper -o paper/ --results results/boards")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("paper"),
    show_default=True,
    help="Folder of the paper; made if absent.",
)
@click.option("--title", default="", metavar="TEXT", help="Title.  [default: one that names the data]")
@shared.boards
@shared.folders
def paper(
    folder: Path, title: str, dataset: str | None, protocol: str | None, cache: str | None, results: str | None
) -> None:
    """Write all boards as a paper in LaTeX: tables, charts, protocol, statistics and references, from records alone.

    Run again, it writes anew what nobody has edited, and names the files that it kept.
    """
    from bench.publishing import paper as papers

    made = papers.write(
        settings.results_folder(results, reading=True),
        folder,
        settings.cache_folder(cache, reading=True),
        dataset,
        protocol,
        title,
    )
    for name in made.kept:
        click.echo(f"kept {folder / name}: edited since it was written")
    click.echo(f"wrote {counted(len(made.written), 'file')}; typeset them:")
    click.echo(f"cd {folder} && pdflatex main && bibtex main && pdflatex main && pdflatex main")
    click.echo(f"check their numbers: bench verify-table {folder / 'tables'}/*.tex")
