"""`bench show`: records of runs as text, as a whole, for one user, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside, refuse_without
from protocols import json_text


@click.command(
    epilog="Examples: bench show sasrec/id --dataset demo --latest | bench show sasrec/captions --user U17 --topk"
)
@click.argument("run", nargs=-1, required=True)
@click.option("--user", metavar="ID", help="History, targets and metrics of one user, fold by fold.")
@click.option("--topk", is_flag=True, help="With --user: the top list; without: the items in most top lists.")
@click.option("--formulas", is_flag=True, help="Formulas of the metrics; with --user also worked out.")
@click.option("--titles", is_flag=True, help="Load the dataset for the titles of items.")
@click.option("--curve", is_flag=True, help="Print the learning curve.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole records as JSON, one a line.")
@shared.data_options
@shared.one_run
@shared.folders
def show(
    run: tuple[str, ...],
    user: str | None,
    topk: bool,
    formulas: bool,
    titles: bool,
    curve: bool,
    as_json: bool,
    sets: tuple[str, ...],
    dataset: str | None,
    protocol: str | None,
    latest: bool,
    cache: str | None,
    results: str | None,
) -> int:
    """Print the data, options and results of runs.

    RUN is the path of a record, or a run: a row of a board (model/extractor/fusion, or a part that is unique) or a
    cell's id, of which all seeds and folds are taken. Exit 1 if a per-user file is not that of its record.
    """
    from bench import records
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells
    from bench.report import record_text

    _refuse_idle(as_json, user, topk, titles)
    among, wrong = None, 0
    for name in run:
        if name.endswith(".json"):
            path = Path(name)
            found = {path: records.read(path)}
            chosen = lookup.select_one(name, []) if titles else None
        else:
            among = among or read_cells(records.find(settings.results_folder(results, reading=True)), dataset, protocol)
            chosen = lookup.select_one(name, among, latest)
            found = chosen.found
        if as_json:
            for record in found.values():
                click.echo(json_text.dumps(asdict(record)))
            continue
        names: Mapping[str, str] = {}
        if titles and chosen:
            names = record_text.titles(
                chosen, settings.cache_folder(cache, reading=True), console.progress(), settings.parse_sets(sets)
            )
        if user is not None:
            click.echo(record_text.user(found, user, topk, formulas, names))
            continue
        click.echo(record_text.text(found))
        changed = records.mismatches(found)
        wrong += len(changed)
        for line in changed:
            click.echo(f"MISMATCH: {line}")
        if curve:
            click.echo(record_text.curves(found))
        if topk:
            click.echo(record_text.most_shown(found, names))
        if formulas:
            click.echo(record_text.metric_formulas())
    return int(wrong > 0)


def _refuse_idle(as_json: bool, user: str | None, topk: bool, titles: bool) -> None:
    """Refuse options that others leave without effect."""
    if as_json:
        refuse_beside("--json", ("--user", "--topk", "--formulas", "--titles", "--curve"))
    if user is not None:
        refuse_beside("--user", ["--curve"])
    elif not topk:
        refuse_without("--topk", ["--titles"])
    if not titles:
        refuse_without("--titles", ["--set"])
