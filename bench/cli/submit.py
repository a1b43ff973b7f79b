"""`bench submit` and `bench verify`: finished boards in one file, and its verification."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_without
from protocols.errors import BenchError, DataError, UserError
from protocols.wording import counted

if TYPE_CHECKING:
    from bench.publishing.pack_check import Checked

PATH = click.Path(path_type=Path)
UNPROVEN = """no ranks of targets in any of its {}, so that no metric can be recomputed
  try: bench submit -o FILE.zip --results FOLDER, the folder of the runs: published copies hold no ranks"""


@click.command(epilog="Example: bench submit -o results/submissions/mine.zip --author 'A. Name' --dataset ml-100k")
@click.option("-o", "--output", required=True, type=PATH, metavar="FILE.zip", help="The pack.")
@click.option("--author", "authors", multiple=True, metavar="NAME", help="Who submits; may be repeated.")
@click.option("--note", default="", metavar="TEXT", help="What a reader has to know: a paper, changes to the code.")
@shared.boards
@shared.folders
def submit(
    output: Path,
    authors: tuple[str, ...],
    note: str,
    dataset: str | None,
    protocol: str | None,
    cache: str | None,
    results: str | None,
) -> None:
    """Pack finished boards into one file that others can verify.

    It holds the records of all ranked rows, the metrics and ranks of every user (real users under hashed names, equal
    within the pack), versions and commands, the board and its table. The same results give the same bytes.
    """
    from bench.publishing import submit as packing

    if output.suffix != ".zip":
        raise UserError(f"-o {output}: a pack is a zip file", remedy=f"-o {output}.zip")
    words = ["bench", "submit", "-o", output.name]
    for option, value in (("--dataset", dataset), ("--protocol", protocol)):
        words += [option, value] if value else []
    folder = settings.results_folder(results, reading=True)
    packed = packing.submit(folder, output, shlex.join(words), dataset, protocol, authors, note)
    for line in packed.left_out:
        click.echo(f"left out, not ranked: {console.printable(line)}")
    for board in packed.boards:
        click.echo(
            f"{board.facts['dataset']}, {board.facts['protocol']}: {counted(len(board.rows), 'row')}, table {board.id}"
        )
    click.echo(f"wrote {output}, {output.stat().st_size / 2**20:.1f} MB; bench verify {output} checks it")


@click.command(epilog="Example: bench verify results/submissions/mine.zip --rerun 2 --seed 7")
@click.argument("packs", nargs=-1, required=True, type=PATH, metavar="PACK...")
@click.option("--rerun", "count", type=click.IntRange(1), metavar="K", help="Also make K rows of a seed again.")
@click.option("--seed", type=click.IntRange(0), help="With --rerun: draws the rows.  [default: 0]")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="With --rerun: largest difference of a metric in a fold.  [default: 3 SD between the row's seeds, at most a "
    "quarter of it, at least 0.0005]",
)
@click.option("--table", "print_table", is_flag=True, help="Print the boards of packs that hold.")
@shared.data_options
@shared.cache_option
def verify(
    packs: tuple[Path, ...],
    count: int | None,
    seed: int | None,
    tolerance: float | None,
    print_table: bool,
    sets: tuple[str, ...],
    cache: str | None,
) -> int:
    """Compute every number in packs anew from the ranks of users, and compare; exit 1 when one is refused.

    Files, records, keys and fingerprints, means, intervals, tests and the table have to agree. A pack that agrees with
    itself may still be invented: --rerun makes some of its results again, where the data are here. A pack without any
    ranks proves nothing: exit 2.
    """
    if count is None:
        refuse_without("--rerun", ("--seed", "--tolerance", "--set"))
    from bench import tables
    from bench.publishing import documents, pack_check

    codes, names = [0], pack_check.published_names(documents.REPOSITORY / "results" / "boards")
    for path in packs:
        try:
            found = pack_check.check(path, names)
        except DataError as error:
            click.echo(f"REFUSED {path}\n  {console.printable(str(error))}")
            codes.append(1)
            continue
        codes.append(_verdict(path, found))
        if codes[-1]:
            continue
        if print_table:
            click.echo("\n\n".join(tables.render(board, "md") for board in found.boards))
        if count:
            codes.append(_rerun(found.entries, count, seed or 0, tolerance, sets, cache))
    return _worst(codes)


def _verdict(path: Path, found: Checked) -> int:
    """Print the verdict of a pack; return 1 if something is wrong with it, 2 if nothing can be recomputed, else 0."""
    for line in found.faults[:20]:
        click.echo(f"  {console.printable(line)}")
    if found.faults:
        more = f" ({len(found.faults) - 20} not shown)" if len(found.faults) > 20 else ""
        click.echo(f"REFUSED {path}: {counted(len(found.faults), 'fault')}{more}")
        return 1
    number = counted(len(found.entries), "record")
    if found.unproven == len(found.entries):
        click.echo(f"REFUSED {path}: {UNPROVEN.format(number)}")
        return 2
    rows = ", ".join(f"{counted(len(one.rows), 'row')} (table {one.id})" for one in found.boards)
    recomputed = len(found.entries) - found.unproven
    click.echo(f"ok {path}: {rows}, metrics of {recomputed} of {number} recomputed from ranks")
    for line in found.notes:
        click.echo(f"  note: {console.printable(line)}")
    return 0


def _rerun(
    entries: dict, count: int, seed: int, tolerance: float | None, sets: tuple[str, ...], cache: str | None
) -> int:
    """Make some results again; return 1 where one is off, 2 where the data are not here, else 0."""
    from bench.publishing import rerun

    places, folder, codes = settings.parse_sets(sets), settings.cache_folder(cache), [0]
    for names in rerun.drawn(entries, count, seed):
        title = rerun.title(entries[names[0]][0]).rpartition(", fold")[0]
        try:
            made = rerun.rerun(entries, names, folder, places, console.progress(), tolerance)
        except BenchError as error:
            absent = rerun.absent(error)
            click.echo(f"  {'not rerun' if absent else 'OFF'}: {console.printable(f'{title}: {error}')}")
            if absent and error.remedy:
                click.echo(f"    try: {console.printable(error.remedy)}")
            codes.append(2 if absent else 1)
            continue
        for one in made:
            click.echo(
                f"  {'ok ' if one.ok else 'OFF'} rerun {one.title}: {one.metric} {one.said:.5f} in the pack, "
                f"{one.found:.5f} now, tolerance {one.tolerance:.5f}"
            )
        codes.append(int(not all(one.ok for one in made)))
    return _worst(codes)


def _worst(codes: list[int]) -> int:
    """Return 1 where something is wrong, else 2 where something is not here."""
    return min(filter(None, codes), default=0)
