"""`bench features audit`: quality statistics of stored texts, and manual grading of a sample."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside, refuse_without
from protocols import json_text
from protocols.errors import UserError
from protocols.wording import counted

SHEET = "Write a page of sampled clips with frames, title and text, and FILE.csv beside it for the grades."
SCORE = "Summarise a filled-in CSV."


@click.command(
    epilog="Examples: bench features audit captions | bench features audit captions --dataset demo --sheet s.html | "
    "bench features audit --score s.csv"
)
@click.argument("name", required=False)
@click.option("--dataset", metavar="NAME", help="Only the items of this dataset, with their titles.  [default: all]")
@click.option("--media", metavar="FOLDER", help="Only the clips of this folder.")
@shared.data_options
@click.option("--sheet", metavar="FILE.html", type=click.Path(path_type=Path, dir_okay=False), help=SHEET)
@click.option("--sample", default=50, show_default=True, type=click.IntRange(min=1), help="Clips on the sheet.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the sample.")
@click.option("--frames", metavar="POLICY", help="Frames of each clip on the sheet.  [default: uniform:8]")
@click.option("--score", "filled", metavar="FILE.csv", type=click.Path(path_type=Path, dir_okay=False), help=SCORE)
@shared.as_json
@shared.cache_option
def audit(
    name: str | None,
    dataset: str | None,
    media: str | None,
    sets: tuple[str, ...],
    sheet: Path | None,
    sample: int,
    seed: int,
    frames: str | None,
    filled: Path | None,
    cache: str | None,
    as_json: bool,
) -> None:
    """Audit stored texts: length, duplicates, refusals, repetition loops, unreadable and missing ones, languages.

    NAME is an extractor (captions, transcripts, published-texts:FILE) or a space's id or its beginning; matching
    spaces are shown side by side. The truth of a text is graded by hand: --sheet, then --score.
    """
    from bench.diagnostics import grading, grading_sheet, text_audit, text_audit_table
    from bench.runs import sources

    if sheet is None:
        refuse_without("--sheet", ("--sample", "--seed", "--frames"))
    if filled is not None:
        refuse_beside("--score", ("--sheet", "--dataset", "--media", "--set"))
        scores = grading.score(filled, name)
        click.echo(json_text.dumps([one.as_json() for one in scores]) if as_json else grading.text(scores))
        return
    if not name:
        raise UserError("NAME is missing", remedy="bench features audit captions")
    spaces = text_audit.choose(shared.store_folder(cache), name)
    if sheet is not None:
        if not dataset and not media:
            raise UserError("a sheet needs clips and titles of the texts", remedy="--dataset NAME or --media FOLDER")
        grading_sheet.check_target(sheet, [entry.id for entry in spaces])
    source = None
    if dataset or media:
        folder, bars = settings.cache_folder(cache, reading=True), console.progress()
        source = sources.open_source(dataset, media, settings.parse_sets(sets), folder, bars)
    only = None if source is None else source.item_ids
    titles = None if source is None else [title for title in source.titles if title]
    texts = [text_audit.read(entry, only) for entry in spaces]
    found = [text_audit.audit(one, titles or None) for one in texts]
    written = {}
    if sheet is not None and source is not None:
        about = dataset or Path(str(media)).expanduser().resolve().name  # the page may be shared: no path of a machine
        policy = frames or grading_sheet.FRAMES
        written = grading_sheet.write(sheet, texts[0], source, about, sample, seed, console.progress(), policy)
    if as_json:
        click.echo(json_text.dumps({"spaces": [one.as_json() for one in found], "sheet": written}))
        return
    click.echo(text_audit_table.text(found))
    if written:
        click.echo(
            f"\nwrote {written['page']}: {counted(written['clips'], 'clip')}; grade them in {written['csv']}, then"
        )
        click.echo(f"  bench features audit --score {written['csv']}")
