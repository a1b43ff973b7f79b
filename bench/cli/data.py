"""`bench data`: prepare a dataset and look at it."""

from __future__ import annotations

import click

from bench.cli import options as shared
from bench.cli.audit import audit


@click.group()
def data() -> None:
    """Prepare datasets and show what they hold."""


@data.command(epilog="Example: bench data prepare demo")
@click.argument("name", default="demo")
@click.option("--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Any option of the dataset.")
@shared.folders
def prepare(name: str, sets: tuple[str, ...], cache: str | None, results: str | None) -> None:
    """Download, render or index a dataset once, into the cache, and show it."""
    from bench import console, registry, settings

    options = settings.parse_sets(sets)
    registry.check_options(options)
    dataset = registry.create("dataset", name, options).load(settings.cache_folder(cache), console.progress())
    log = dataset.interactions
    click.echo(
        f"{dataset.name} {dataset.version}{' (simulated)' if dataset.simulated else ''}, licence {dataset.licence}"
    )
    click.echo(f"{log['user_id'].nunique()} users, {len(dataset.items)} items, {len(log)} interactions")
    first, last = (pd_time(log["timestamp"].iloc[i]) for i in (0, -1))
    click.echo(f"from {first} to {last} UTC; {dataset.duplicates} exact duplicates dropped")
    click.echo(f"fingerprint {dataset.fingerprint}")
    for sentence in dataset.card:
        click.echo(f"- {sentence}")
    if dataset.citation:
        click.echo(dataset.citation)


def pd_time(milliseconds: int) -> str:
    """Write a timestamp as UTC text."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


data.add_command(audit)
