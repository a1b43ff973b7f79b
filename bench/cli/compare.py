"""`bench compare`: differences between runs with intervals and tests."""

from __future__ import annotations

import click

from bench import settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside
from protocols import json_text
from protocols.errors import UserError


@click.command(
    epilog="Examples: bench compare sasrec/captions/gate sasrec/id | bench compare --baseline id --grid"
    " | bench compare sasrec/captions/gate sasrec/id --slices"
)
@click.argument("runs", nargs=-1, metavar="[RUN_A RUN_B]")
@click.option("--baseline", metavar="ROW", help="Every row of each board against this one (Holm), e.g. id.")
@click.option("--grid", is_flag=True, help="All pairs of each board (Benjamini-Hochberg).")
@click.option("--slices", is_flag=True, help="RUN_A against RUN_B on parts of the users and of the targets (Holm).")
@click.option(
    "--audio-heavy",
    metavar="SPACE",
    help="With --slices: also clips with speech or music in over half, by stored features, e.g. sound-tags.windows.",
)
@click.option(
    "--short",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --slices: the longest short clip.  [default: 30]",
)
@click.option(
    "--metric",
    default="ndcg@10",
    show_default=True,
    help="hr, ndcg, recall or mrr at any K, also _warm, _cold, _cold_among_cold.",
)
@shared.boards
@click.option("--format", "form", type=click.Choice(["md", "csv", "latex"]), default="md", show_default=True)
@shared.as_json
@shared.folders
def compare(
    runs: tuple[str, ...],
    baseline: str | None,
    grid: bool,
    slices: bool,
    audio_heavy: str | None,
    short: float | None,
    metric: str,
    dataset: str | None,
    protocol: str | None,
    form: str,
    as_json: bool,
    cache: str | None,
    results: str | None,
) -> None:
    """Compare runs over the same users: effect and 95% interval over users and seeds first, then p.

    RUN is a row of a board (model/extractor/fusion, or a unique part of it), a cell's id, or the path of a record:
    all seeds and folds of that cell are taken. Rows of different boards are refused, with the difference.
    """
    from bench import records, tables
    from bench.boards import compare as comparing
    from bench.boards import contrasts, lookup
    from bench.boards.cell_results import read_cells
    from protocols.evaluation.metrics import parse
    from protocols.evaluation.slices import SHORT

    if as_json:
        refuse_beside("--json", ["--format"])
    parse(metric)
    if bool(runs) == bool(baseline or grid) or len(runs) not in (0, 2):
        raise UserError(
            "bench compare takes two runs, or --baseline ROW and/or --grid",
            remedy="bench compare sasrec/captions/gate sasrec/id, or bench compare --baseline id --grid",
        )
    if slices and not runs:
        raise UserError("--slices compares two runs", remedy="bench compare RUN_A RUN_B --slices")
    for option, given in (("--audio-heavy", audio_heavy), ("--short", short)):
        if given and not slices:
            raise UserError(f"{option} is for --slices", remedy=f"bench compare RUN_A RUN_B --slices {option} {given}")
    found = read_cells(records.find(settings.results_folder(results, reading=True)), dataset, protocol)
    if runs:
        a, b = lookup.choose(runs[0], runs[1], found)
        if slices:
            folder = settings.cache_folder(cache, reading=True)
            heavy = contrasts.stored_audio_heavy(audio_heavy, folder) if audio_heavy else None
            reports = [comparing.compare_slices(a, b, metric, heavy, short or SHORT)]
        else:
            reports = [comparing.compare(a, b, metric)]
    else:
        reports = comparing.grid(found, metric, baseline=baseline, pairs=grid)
    if as_json:
        click.echo(json_text.dumps([report.as_json() for report in reports]))
    else:
        click.echo(tables.comparisons(reports, form))
