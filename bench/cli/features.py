"""`bench features`: contents of the feature store, and their verification."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options as shared
from bench.cli.features_audit import audit
from protocols import json_text


@click.group()
def features() -> None:
    """List, show, audit, export, delete and verify stored features. SPACE is a space's id or its beginning."""


features.add_command(audit)


@features.command("list", epilog="Example: bench features list")
@shared.as_json
@shared.cache_option
def list_spaces(cache: str | None, as_json: bool) -> None:
    """Show every feature space: kind, items, share of items with a feature, size, and time of the last write.

    Below it: checkpoints of its chain, precision, the datasets it was extracted for, and the prompt.
    """
    from bench.diagnostics import stored_features

    root = shared.store_folder(cache)
    found = stored_features.listing(root)
    click.echo(json_text.dumps(found) if as_json else stored_features.listing_text(root, found))


@features.command(epilog="Example: bench features show captions.vector")
@click.argument("space")
@shared.as_json
@shared.cache_option
def show(space: str, cache: str | None, as_json: bool) -> None:
    """Show how a space was made, the status of its items, and diagnostics of its vectors."""
    from bench.diagnostics import stored_features

    facts = stored_features.description(shared.store_folder(cache), space)
    click.echo(json_text.dumps(facts) if as_json else stored_features.description_text(facts))


@features.command(epilog="Example: bench features export captions.vector --to FOLDER --format hf")
@click.argument("space")
@click.option("--to", "target", required=True, metavar="FOLDER", help="A new or empty folder.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["npy", "parquet", "hf"]),
    default="npy",
    show_default=True,
    help="An array with a file of ids, one parquet file, or a Hugging Face datasets folder.",
)
@shared.cache_option
def export(space: str, target: str, form: str, cache: str | None) -> None:
    """Write the features of a space to files, with a card that states exactly how they were made."""
    from bench.diagnostics import stored_features

    folder = Path(target).expanduser().absolute()
    click.echo(stored_features.export(shared.store_folder(cache), space, folder, form))


@features.command(epilog="Example: bench features delete captions.text-v1-0123456789ab")
@click.argument("space")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared.cache_option
def delete(space: str, yes: bool, cache: str | None) -> int:
    """Delete a space from the store."""
    from bench.diagnostics.stored_features import size
    from feature_extractors.store import catalogue

    root = shared.store_folder(cache)
    entry = catalogue.find(root, space)
    children = catalogue.children(root, entry.id)
    if not yes:
        kept = f" ({', '.join(children)} was made from it and stays)" if children else ""
        if not click.confirm(f"delete {entry.id}, {size(entry.bytes)}?{kept}"):
            click.echo("nothing was deleted")
            return 1
    click.echo(f"deleted {entry.id}: {size(catalogue.delete(entry))} are free")
    return 0


@features.command(epilog="Example: bench features verify")
@click.argument("space", required=False)
@shared.as_json
@shared.cache_option
def verify(space: str | None, cache: str | None, as_json: bool) -> int:
    """Check every row of a space (or of all) against its checksum; exit with 1 on damage."""
    from bench.diagnostics import stored_features

    found = stored_features.verified(shared.store_folder(cache), space)
    damaged = not all(one["ok"] for one in found)
    if as_json:
        click.echo(json_text.dumps(found))
    elif found:
        click.echo(stored_features.verified_text(found))
        if damaged:
            click.echo("damaged rows are never read; the next extraction makes them again", err=True)
    return int(damaged)
