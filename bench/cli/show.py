"""`bench leaderboard` and `bench show`: what earlier runs left behind."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from bench.cli import options as shared


@click.command(epilog="Example: bench leaderboard --format latex > table.tex")
@click.option("--dataset", metavar="NAME", help="Only boards of this dataset.")
@click.option("--protocol", metavar="NAME", help="Only boards of this protocol.")
@click.option("--format", "form", type=click.Choice(["md", "csv", "latex", "json"]), default="md", show_default=True)
@click.option(
    "--write", type=click.Path(path_type=Path), help="Write the page of all boards (BENCHMARKS.md) to a file."
)
@click.option(
    "--publish", type=click.Path(path_type=Path), help="Copy the records, compacted, into a folder to commit."
)
@shared.folders
def leaderboard(
    dataset: str | None,
    protocol: str | None,
    form: str,
    write: Path | None,
    publish: Path | None,
    cache: str | None,
    results: str | None,
) -> None:
    """Print every board in the results folder; rows rank together only when everything that matters matches."""
    from bench import leaderboard, settings, tables
    from bench import publish as publishing
    from protocols.errors import UserError

    folder = settings.results_folder(results)
    if publish:
        click.echo(f"{len(publishing.publish(folder, publish))} records copied to {publish}")
        return
    if write:
        write.write_text(publishing.page(folder), encoding="utf-8")
        click.echo(f"wrote {write}")
        return
    boards = leaderboard.boards(folder, dataset, protocol)
    if not boards:
        raise UserError(f"no records in {folder}", remedy="bench run --extractor captions --model sasrec")
    if form == "json":
        click.echo(json.dumps([board.as_json() for board in boards]))
    else:
        click.echo("\n\n".join(tables.render(board, form) for board in boards))


@click.command(epilog="Example: bench show results/local/demo/rolling-7d/sasrec_id_id-*/s1-f0-*.json")
@click.argument("run", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@click.option("--curve", is_flag=True, help="Print the learning curve.")
def show(run: tuple[Path, ...], as_json: bool, curve: bool) -> None:
    """Print run records: what was run on what, and what came out."""
    from bench import records

    for path in run:
        record = records.read(path)
        if as_json:
            click.echo(json.dumps(asdict(record)))
            continue
        cell = records.Cell(**record.cell)
        click.echo(f"{cell.label}: {cell.dataset}{' (simulated)' if record.simulated else ''}, {cell.protocol}")
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
        if curve:
            for row in record.training.get("search_curve", []):
                click.echo(f"  {row}")
