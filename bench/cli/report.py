"""`bench report`: boards and runs as a static site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_without
from protocols.errors import UserError

#: Users shown at most on a page of `--diff`.
EXAMPLES = 50


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
@click.option(
    "--diff",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="RUN RUN",
    help="Also the page of bench diff of two runs, linked where they are compared; repeatable.",
)
@shared.boards
@shared.data_options
@shared.folders
def report(
    folder: Path,
    pairs: tuple[tuple[str, str], ...],
    dataset: str | None,
    protocol: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
) -> None:
    """Write all boards and runs as a static site that opens from a file and needs no network."""
    from bench import records
    from bench.boards.cell_results import read_cells
    from bench.report import site

    if not pairs:
        refuse_without("--diff", ["--set"])
    source, kept = settings.results_folder(results, reading=True), settings.cache_folder(cache, reading=True)
    progress = console.progress()
    diffs: dict[tuple[str, str], str] = {}
    if pairs:
        among = read_cells(records.find(source), dataset, protocol)
        diffs = _write_diffs(folder, pairs, among, kept, progress, settings.parse_sets(sets))
    index = site.write(source, folder, dataset, protocol, progress, kept, diffs)
    click.echo(f"wrote {index}: open it in a browser")


def _write_diffs(
    folder: Path, pairs: Sequence[tuple[str, str]], among: Sequence[Any], cache: Path, progress: Any, places: Any
) -> dict[tuple[str, str], str]:
    """Write the pages of `bench diff` that the site links; return their names by the cells of their runs."""
    from bench.boards import lookup
    from bench.report import sheet

    found = {}
    for names in pairs:
        a, b = lookup.choose(*names, among)
        name = found[a.cell.id, b.cell.id] = f"diff-{a.cell.id}-{b.cell.id}.html"
        page = sheet.make(a, b, EXAMPLES, cache, progress, places).page
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(page, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"cannot write {folder}: {error.strerror}", remedy="choose another folder with -o"
            ) from error
    return found
