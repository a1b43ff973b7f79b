"""`bench runs`: stored runs, failed ones among them, and their deletion."""

from __future__ import annotations

import click

from bench import settings
from bench.cli import options as shared
from protocols.errors import UserError
from protocols.wording import counted


@click.group(invoke_without_command=True, epilog="Examples: bench runs --failed | bench runs delete --failed")
@click.option("--failed", is_flag=True, help="Only runs of which a result failed.")
@shared.as_json
@shared.boards
@shared.folders
@click.pass_context
def runs(
    context: click.Context,
    failed: bool,
    as_json: bool,
    dataset: str | None,
    protocol: str | None,
    cache: str | None,
    results: str | None,
) -> None:
    """List the runs in the results folder, the last written first, with the reasons of failures.

    Failed results are on no board. The command that made them tries them again.
    """
    if context.invoked_subcommand:
        if any((failed, as_json, dataset, protocol, cache, results)):
            raise UserError(
                f"options of bench runs {context.invoked_subcommand} stand behind it",
                remedy=f"bench runs {context.invoked_subcommand} --help",
            )
        return
    from bench import records
    from bench.boards import stored_runs
    from bench.boards.cell_results import read_cells
    from protocols import json_text, object_store

    folder = settings.results_folder(results, reading=True)
    found = stored_runs.listing(read_cells(records.find(folder), dataset, protocol), failed)
    if as_json:
        click.echo(json_text.dumps([one.as_json() for one in found]))
    elif found:
        click.echo(stored_runs.text(found))
        if any(one.failures for one in found):
            click.echo("\nthe same command tries failed results again; `bench runs delete --failed` removes them")
    else:
        click.echo(f"no {'failed ' if failed else ''}runs in {object_store.shown(folder)}")


@runs.command(epilog="Examples: bench runs delete sasrec/captions/gate | bench runs delete --failed")
@click.argument("run", nargs=-1)
@click.option("--failed", is_flag=True, help="Only failed results: of each RUN, or of all runs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared.boards
@shared.folders
def delete(
    run: tuple[str, ...],
    failed: bool,
    yes: bool,
    dataset: str | None,
    protocol: str | None,
    cache: str | None,
    results: str | None,
) -> int:
    """Delete the results of runs, with their per-user files and kept weights.

    RUN is a row of a board (model/extractor/fusion, or a part that is unique) or a run's id.
    """
    from bench import records
    from bench.boards import stored_runs
    from bench.boards.cell_results import is_of
    from protocols import object_store

    if not run and not failed:
        raise UserError("nothing to delete is named", remedy="bench runs delete RUN, or bench runs delete --failed")
    folder = settings.results_folder(results)
    found = {path: one for path, one in records.read_all(folder).items() if is_of(one, dataset, protocol)}
    chosen = stored_runs.choose(found, run, failed)
    if not chosen:
        click.echo(f"no {'failed ' if failed else ''}results to delete in {object_store.shown(folder)}")
        return 0
    rows = sorted({f"{cell.label} ({cell.id})" for one in chosen.values() for cell in [records.Cell(**one.cell)]})
    if not yes and not click.confirm(f"delete {counted(len(chosen), 'result')} of {', '.join(rows)}?"):
        click.echo("nothing was deleted")
        return 1
    count = stored_runs.delete(chosen, folder, settings.cache_folder(cache, reading=True))
    click.echo(f"deleted {counted(count, 'result')} of {', '.join(rows)}")
    return 0
