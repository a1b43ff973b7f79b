"""`bench diff`: whom one run serves and another fails."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options as shared


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
@click.option("--dataset", metavar="NAME", help="Only runs on this dataset.  [default: all]")
@click.option("--protocol", metavar="NAME", help="Only runs under this protocol.  [default: all]")
@click.option(
    "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Where files lie, e.g. csv.media=clips/."
)
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
    """Write a page of users whom RUN_A serves and RUN_B fails, with titles, captions and frames of the clips.

    Served: a target in the top ten under every seed; failed: under none. RUN is a row of a board
    (model/extractor/fusion, or what of it is enough), a cell's id, or the path of a record.
    """
    from bench import console, records, settings
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells
    from bench.report import differences, sheet
    from protocols.errors import UserError

    a, b = lookup.choose(run_a, run_b, read_cells(records.find(settings.results_folder(results)), dataset, protocol))
    made = sheet.make(
        a, b, examples, settings.cache_folder(cache), console.progress(), settings.parse_sets(sets), captions,
        not no_frames,
    )  # fmt: skip
    try:
        path.write_text(made.page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", remedy="choose another file with -o") from error
    click.echo(differences.sentence(made.counts, a.label, b.label))
    for note in made.notes:
        click.echo(note)
    click.echo(f"wrote {path}: {len(made.examples)} examples")
