"""`bench list`: extractors, models, fusions, datasets, protocols, presets, and RecBole models as tried."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path

import click

from bench import registry
from bench.cli import options as shared
from protocols.errors import BenchError
from recommenders.recbole import catalogue

KINDS = {
    "extractors": "extractor",
    "models": "model",
    "fusions": "fusion",
    "datasets": "dataset",
    "protocols": "protocol",
    "presets": "preset",
    "recbole": "recbole",
}


@click.command("list", epilog="Example: bench list models")
@click.argument("kind", type=click.Choice(list(KINDS)), default="extractors")
@shared.as_json
def list_plugins(kind: str, as_json: bool) -> None:
    """Show the names of extractors, models, fusions, datasets ...; and models of RecBole as tried."""
    rows = {"presets": presets, "recbole": recbole, "fusions": fusions}.get(kind, partial(plugins, KINDS[kind]))()
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['name']:<14} {row['summary']}")
        for key, value in row.items():
            if key not in ("name", "summary") and value:
                click.echo(f"{'':<14}   {key}: {value}")


def plugins(kind: str) -> list[dict[str, str]]:
    """Describe every plug-in of a kind; one that fails to import says why."""
    rows = []
    for name in registry.names(kind):
        try:
            plugin = registry.load(kind, name)
        except BenchError as error:
            rows.append({"name": name, "summary": f"not usable: {error}", "try": error.remedy})
            continue
        row = {"name": name, "summary": plugin.summary()}
        for key in ("feature", "paper", "licence", "checkpoints"):
            row[key] = str(getattr(plugin, key, "") or "")
        row["options"] = ", ".join(
            f"{f.name}={f.default!r}"
            for f in fields(plugin)
            if f.init and f.name != "variant" and f.default is not MISSING and not callable(f.default)
        )
        rows.append(row)
    return rows


def fusions() -> list[dict[str, str]]:
    """Describe every fusion: its equation, and the features and models that fit."""
    from recommenders.encoder.fusions import FUSIONS

    return [
        {"name": kind.name, "summary": kind.summary, "features": kind.features, "models": kind.models}
        for kind in FUSIONS.values()
    ]


def recbole() -> list[dict[str, str]]:
    """Describe every RecBole model as tried."""
    return [
        {
            "name": row["model"],
            "summary": f"{row['family']}, {row['outcome']}",
            "cold items": {"no": "not scored"}.get(row["cold_items"], ""),
            "why": row["reason"],
        }
        for row in catalogue.rows()
    ]


def presets() -> list[dict[str, str]]:
    """Describe every preset by its first comment."""
    rows = []
    for path in sorted((Path(__file__).parents[1] / "presets").glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        rows.append({"name": path.stem, "summary": first})
    return rows
