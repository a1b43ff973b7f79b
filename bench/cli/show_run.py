"""`bench show`: what a run left behind, as a whole, for one user, item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options as shared

if TYPE_CHECKING:
    from bench.boards.cell_results import CellResults
    from bench.records import Record

# Items listed where all users are looked at together.
LISTED = 20


@click.command(
    epilog="Examples: bench show sasrec/captions/gate | bench show sasrec/captions/gate --user U17 --topk --formulas"
)
@click.argument("run", nargs=-1, required=True)
@click.option("--user", metavar="ID", help="What one user had, took and was shown, fold by fold.")
@click.option("--topk", is_flag=True, help="With --user: the list; without: the items that are shown most.")
@click.option("--formulas", is_flag=True, help="How metrics are computed; with --user also worked out.")
@click.option("--titles", is_flag=True, help="Load the dataset for the titles of items.")
@click.option("--curve", is_flag=True, help="Print the learning curve.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole records as JSON, one a line.")
@click.option(
    "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Where files lie, e.g. csv.items=x.csv."
)
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
    cache: str | None,
    results: str | None,
) -> None:
    """Print what runs were made on and what came out.

    RUN is the path of a record, or a run: a row of a board (model/extractor/fusion, or what of it is enough) or a
    cell's id, of which all seeds and folds are taken.
    """
    from bench import records, settings
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells

    among = None
    for name in run:
        if name.endswith(".json"):
            path = Path(name)
            mine: dict[Path, Record] = {path: records.read(path)}
            chosen = lookup.select_one(name, []) if titles else None
        else:
            among = among or read_cells(records.find(settings.results_folder(results)))
            chosen = lookup.select_one(name, among)
            mine = chosen.found
        if as_json:
            for record in mine.values():
                click.echo(json.dumps(asdict(record)))
            continue
        names = _titles(chosen, cache, sets) if titles and chosen else {}
        if user is not None:
            _user(mine, user, topk, formulas, names)
            continue
        if len(mine) == 1:
            _record(next(iter(mine.values())))
        else:
            _summary(mine)
        if curve:
            _curves(mine)
        if topk:
            _most_shown(mine, names)
        if formulas:
            _formulas()


def _titles(run: CellResults, cache: str | None, sets: tuple[str, ...]) -> Mapping[str, str]:
    from bench import console, settings
    from bench.report import sheet

    _, dataset = sheet.dataset_of(run, settings.cache_folder(cache), console.progress(), settings.parse_sets(sets))
    titles = dataset.items.get("title")
    return {} if titles is None else {str(item): str(title) for item, title in titles.dropna().items()}


def _head(record: Record) -> None:
    from bench import records

    cell = records.Cell(**record.cell)
    click.echo(f"{cell.label}: {cell.dataset}{' (simulated)' if record.simulated else ''}, {cell.protocol}")


def _record(record: Record) -> None:
    _head(record)
    click.echo(f"seed {record.seed}, fold {record.fold}, board {record.board[:12]}, {record.status}")
    if record.error:
        click.echo(record.error)
    for title, content in (("fold", record.fold_info), ("metrics", record.metrics), ("seconds", record.seconds)):
        click.echo(f"{title}:")
        for key, value in content.items():
            click.echo(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    click.echo(f"audit: {sum(v['ok'] for v in record.audit)} of {len(record.audit)} checks passed")
    if record.features:
        click.echo(f"features: {record.features['space']}, coverage {record.features['coverage']:.1%}")
    click.echo(f"epochs: {record.training.get('epochs')}, parameters: {record.training.get('parameters')}")


def _summary(found: Mapping[Path, Record]) -> None:
    """One line a seed and fold."""
    from tabulate import tabulate

    from bench.report.run_view import RECORD_TITLES, record_row

    first = next(iter(found.values()))
    _head(first)
    click.echo(f"board {first.board[:12]}, {len(found)} records in {next(iter(found)).parent}\n")
    rows = [record_row(record) for record in found.values()]
    click.echo(tabulate(rows, list(RECORD_TITLES), tablefmt="github", disable_numparse=True))
    for record in found.values():
        if record.error:
            click.echo(f"seed {record.seed}, fold {record.fold}: {record.error}")


def _curves(found: Mapping[Path, Record]) -> None:
    for record in found.values():
        curve: list[Any] = record.training.get("search_curve") or []
        click.echo(f"learning curve, seed {record.seed}, fold {record.fold}{'' if curve else ': not kept'}")
        for row in curve:
            click.echo(f"  {row}")


def _named(item: str | None, titles: Mapping[str, str]) -> str:
    if item is None:
        return "(no item of this problem)"
    title = titles.get(item)
    return shared.printable(f"{item}  {title}" if title else item)


def _user(found: Mapping[Path, Record], name: str, topk: bool, formulas: bool, titles: Mapping[str, str]) -> None:
    from bench.report import formulas as worked
    from bench.report import user_results
    from protocols.errors import UserError

    known = {
        path: record for path, record in found.items() if record.status == "ok" and name in user_results.users_of(path)
    }
    if not known:
        some = next((path for path, record in found.items() if record.status == "ok"), None)
        if some is None:
            raise UserError("no seed and fold of this run has finished", remedy="run the cell again")
        user_results.user(some, name)  # says who there is
    _head(next(iter(found.values())))
    for path, record in known.items():
        one = user_results.user(path, name)
        values = ", ".join(f"{metric} {one.metrics[metric]:.4f}" for metric in ("hr@10", "ndcg@10"))
        had = "" if one.history is None else f", {one.history} events before"
        click.echo(f"\nuser {shared.printable(name)}, seed {record.seed}, fold {record.fold}{had}: {values}")
        for item, rank, events in one.targets or []:
            place = f"rank {rank}" if rank else "not found"
            click.echo(f"  took {_named(item, titles)}: {place}, {events} fitted events")
        if topk:
            taken = {item for item, _, _ in one.targets or []}
            for at, item in enumerate(one.top or [], 1):
                click.echo(f"  {at:>3} {'*' if item in taken else ' '} {_named(item, titles)}")
            if one.top is None:
                click.echo(f"  no list is kept here: {user_results.REMEDY}")
        if formulas:
            for line in worked.worked([rank for _, rank, _ in user_results.require_targets(one, path)]):
                click.echo(f"  {line}")


def _most_shown(found: Mapping[Path, Record], titles: Mapping[str, str]) -> None:
    from bench.report import user_results

    for path, record in found.items():
        if record.status != "ok":
            continue
        items, lists = user_results.most_shown(path)
        click.echo(f"\nin the first ten of {lists} users, seed {record.seed}, fold {record.fold}: {len(items)} items")
        for item, times in items[:LISTED]:
            click.echo(f"  {times / lists:6.1%}  {_named(item, titles)}")


def _formulas() -> None:
    from bench.report.formulas import FORMULAS

    click.echo("\nformulas:")
    for name, text in FORMULAS.items():
        click.echo(f"  {name}: {text}")
