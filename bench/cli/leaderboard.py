"""`bench leaderboard`: boards of finished runs."""

from __future__ import annotations

from pathlib import Path

import click

from bench import settings
from bench.cli import options as shared
from bench.cli.idle_options import given, refuse_beside, refuse_without
from protocols.errors import UserError
from protocols.wording import counted

PATH = click.Path(path_type=Path)
#: Options that choose what of a board is shown.
VIEW = ("--group-by", "--pivot", "--columns", "--wide", "--rows")
#: Options of boards on standard output.
SHOWN = ("--metric", "--baseline", "--format", "--standalone", *VIEW)


@click.command(epilog="Example: bench leaderboard --pivot --format latex > table.tex")
@shared.boards
@click.option(
    "--metric",
    default="ndcg@10",
    show_default=True,
    help="Metric that ranks the rows: hr, ndcg, recall or mrr at any K, also _warm, _cold, _cold_among_cold.",
)
@click.option(
    "--baseline",
    metavar="ROW",
    help="Differences are to this row: model/extractor/fusion, or a unique part of it.  [default: the best id row]",
)
@click.option("--group-by", type=click.Choice(["extractor", "model"]), help="Rows of one stand together.")
@click.option("--pivot", is_flag=True, help="Extractors as rows, models as columns.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "md", "latex", "csv", "html", "json"]),
    help="LaTeX needs array, booktabs and longtable; html is a page.  [default: table on a terminal, else markdown]",
)
@click.option("--standalone", is_flag=True, help="With --format latex: a whole document of all boards.")
@click.option(
    "--write",
    type=PATH,
    metavar="FILE",
    help="Write the page of all boards to a file, tables and charts beside records.",
)
@click.option("--publish", type=PATH, metavar="FOLDER", help="Copy the records into a folder, compact, users hashed.")
@shared.board_view
@shared.folders
def leaderboard(
    dataset: str | None,
    protocol: str | None,
    metric: str,
    baseline: str | None,
    group_by: str | None,
    pivot: bool,
    form: str | None,
    standalone: bool,
    write: Path | None,
    publish: Path | None,
    names: str | None,
    wide: bool,
    most: int | None,
    cache: str | None,
    results: str | None,
) -> None:
    """Print every board in the results folder; rows rank together only on equal data, protocol, folds and seeds."""
    from bench import tables
    from bench.boards import board_cache, board_json
    from bench.boards import leaderboard as building
    from bench.cli import board_output
    from bench.tables import columns

    _refuse_idle(form, pivot, group_by, publish, write)
    folder = settings.results_folder(results, reading=True)
    if publish:
        from bench.publishing import publish as publishing

        copies = publishing.publish(folder, publish, dataset, protocol, click.echo)
        click.echo(f"{counted(len(copies), 'record')} copied to {publish}")
        return
    if write:
        from bench.publishing import page

        for path in page.write(folder, write):
            click.echo(f"wrote {path}")
        return
    if names is not None and not names.strip(" ,"):
        raise UserError("--columns names no column", remedy="--columns row,score")
    chosen = columns.chosen(names) if names else []
    found = board_cache.boards(folder, settings.cache_folder(cache, reading=True), dataset, protocol, metric, baseline)
    if not found:
        raise building.nothing_in(folder)
    if form == "json":
        click.echo(board_json.dumps(found))
        return
    view = tables.View(group_by or "", pivot, tuple(chosen))
    board_output.show(found, form, view, wide, most, standalone)


def _refuse_idle(form: str | None, pivot: bool, group_by: str | None, publish: Path | None, write: Path | None) -> None:
    """Refuse options that others leave without effect."""
    if publish:
        refuse_beside("--publish", ("--write", *SHOWN))
    if write:
        refuse_beside("--write", ("--dataset", "--protocol", *SHOWN))
    if form == "json":
        refuse_beside("--format json", VIEW, "leave it out: JSON holds all rows and numbers; or take --format csv")
    if form != "latex":
        refuse_without("--format latex", ["--standalone"])
    if form not in (None, "table"):
        refuse_beside(f"--format {form}", ["--wide"])
    if form == "table":
        refuse_beside("--format table", ("--pivot", "--group-by"), "--format markdown")
    if pivot:
        refuse_beside("--pivot", ("--group-by", "--columns", "--rows", "--wide"))
    if group_by:
        refuse_beside("--group-by", ["--wide"])
    if given("--columns"):
        refuse_beside("--columns", ["--wide"])
