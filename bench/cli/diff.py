"""`bench diff`: users with a hit under one run and none under another."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared
from protocols.errors import UserError


@click.command(epilog="Example: bench diff sasrec/captions/gate sasrec/id --examples 50 -o diff.html")
@click.argument("run_a")
@click.argument("run_b")
@click.option("--examples", default=50, show_default=True, type=click.IntRange(min=1), help="Users shown at most.")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("diff.html"),
    show_default=True,
    help="The page.",
)
@click.option(
    "--captions", metavar="SPACE", help="Stored texts to show.  [default: those that features were made from]"
)
@click.option("--no-frames", is_flag=True, help="Leave out the frames of the clips.")
@shared.boards
@shared.data_options
@shared.folders
def diff(
    run_a: str,
    run_b: str,
    examples: int,
    path: Path,
    captions: str | None,
    no_frames: bool,
    dataset: str | None,
    protocol: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
) -> None:
    """Write a page of users with a hit under RUN_A and none under RUN_B, with titles, captions and frames of the clips.

    A hit: a target in the top ten under every seed; none: under no seed. RUN is a row of a board
    (model/extractor/fusion, or a unique part of it), a cell's id, or the path of a record.
    """
    from bench import records
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells
    from bench.report import differences, sheet

    a, b = lookup.choose(
        run_a, run_b, read_cells(records.find(settings.results_folder(results, reading=True)), dataset, protocol)
    )
    folder, places = settings.cache_folder(cache, reading=True), settings.parse_sets(sets)
    made = sheet.make(a, b, examples, folder, console.progress(), places, captions, not no_frames)
    try:
        path.write_text(made.page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", remedy="choose another file with -o") from error
    click.echo(differences.sentence(made.counts, a.label, b.label))
    for note in made.notes:
        click.echo(note)
    click.echo(f"wrote {path}: {len(made.examples)} examples")
