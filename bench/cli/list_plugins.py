"""`bench list`: extractors, checkpoints, model types, models, fusions, datasets, protocols, presets, RecBole models."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

import click

from bench import registry
from bench.cli import options as shared
from feature_extractors.models.checkpoint import cards
from feature_extractors.models.checkpoint.cards import Card
from feature_extractors.models.model_types import TRIED
from protocols import json_text
from protocols.errors import BenchError
from recommenders.recbole import catalogue

KINDS = {
    "extractors": "extractor",
    "checkpoints": "checkpoint",
    "model-types": "model type",
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
    """Show the names of extractors, checkpoints, models, fusions, datasets ...; and models of RecBole as tried."""
    tables = {
        "checkpoints": checkpoints,
        "model-types": types,
        "presets": presets,
        "recbole": recbole,
        "fusions": fusions,
    }
    rows = tables.get(kind, partial(plugins, KINDS[kind]))()
    if as_json:
        click.echo(json_text.dumps(rows))
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
            plugin: Any = registry.load(kind, name)
        except BenchError as error:
            rows.append({"name": name, "summary": f"not usable: {error}", "try": error.remedy})
            continue
        row = {"name": name, "summary": plugin.summary()}
        for key in ("feature", "paper"):
            row[key] = str(getattr(plugin, key, "") or "")
        if kind == "extractor":
            row |= {"licence": cards.licences_of(plugin), "checkpoints": cards.labels(plugin.checkpoints)}
        row["options"] = ", ".join(
            f"{f.name}={f.default!r}"
            for f in fields(plugin)
            if f.init and f.name != "variant" and f.default is not MISSING and not callable(f.default)
        )
        rows.append(row)
    return rows


def checkpoints() -> list[dict[str, str]]:
    """Describe every checkpoint of the table of cards; facts that are not known are left out."""
    return [
        {
            "name": card.id,
            "summary": f"{', '.join(card.modalities)} through {card.loader}",
            "licence": f"{card.licence} ({card.link})" if card.licence else f"unknown here, see {card.link}",
            "revision": card.revision or "",
            "parameters": f"{card.parameters:,}" if card.parameters else "",
            "dtypes": ", ".join(card.dtypes),
            "readout": card.readout or "",
            "instruction": card.instruction or "",
            "tokens": str(card.tokens or ""),
            "citation": card.citation or "",
            "default of": ", ".join(_users(card)),
        }
        for card in cards.CARDS
    ]


def types() -> list[dict[str, str]]:
    """Describe what was read of every model type with random weights."""
    parts = ("captions", "states", "embedding")
    return [
        {"name": one.kind, "summary": f"{one.label}, frames as {one.frames}"}
        | {part: getattr(one, part) or "works" for part in parts}
        for one in TRIED
    ]


def _users(card: Card) -> list[str]:
    """Names of the extractors that take a checkpoint on real data."""
    found = []
    for name in registry.names("extractor"):
        with suppress(BenchError):
            extractor: Any = registry.load("extractor", name)
            if card.id in extractor.checkpoints:
                found.append(name)
    return found


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
