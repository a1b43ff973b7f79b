"""`bench list`: which extractors, models, fusions, datasets and protocols there are."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import partial

import click

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
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def listing(kind: str, as_json: bool) -> None:
    """Show what can be named: extractors, models, fusions, datasets ...; and models of RecBole as tried."""
    rows = {"presets": _presets, "recbole": _recbole, "fusions": _fusions}.get(kind, partial(_plugins, KINDS[kind]))()
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['name']:<14} {row['summary']}")
        for key, value in row.items():
            if key not in ("name", "summary") and value:
                click.echo(f"{'':<14}   {key}: {value}")


def _plugins(kind: str) -> list[dict[str, str]]:
    from bench import registry
    from protocols.errors import BenchError

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


def _fusions() -> list[dict[str, str]]:
    from recommenders.encoder.fusions import FUSIONS

    return [
        {"name": kind.name, "summary": kind.summary, "features": kind.features, "models": kind.models}
        for kind in FUSIONS.values()
    ]


def _recbole() -> list[dict[str, str]]:
    from recommenders.recbole import catalogue

    return [
        {
            "name": row["model"],
            "summary": f"{row['family']}, {row['outcome']}",
            "cold items": {"no": "not scored"}.get(row["cold_items"], ""),
            "why": row["reason"],
        }
        for row in catalogue.rows()
    ]


def _presets() -> list[dict[str, str]]:
    from bench.cli.run import PRESETS

    rows = []
    for path in sorted(PRESETS.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        rows.append({"name": path.stem, "summary": first})
    return rows
