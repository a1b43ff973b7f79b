"""`bench features`: what the feature store holds, how it was made, and whether it is sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options as shared
from bench.cli.features_audit import audit
from bench.cli.stored import located, readable, store_folder, stored

if TYPE_CHECKING:
    from feature_extractors.store.catalogue import Entry
    from feature_extractors.store.diagnostics import Diagnosis

UNITS = ("B", "kB", "MB", "GB", "TB")


@click.group()
def features() -> None:
    """List, show, audit, export, delete and verify stored features. SPACE is a space's id or its beginning."""


features.add_command(audit)


@features.command("list", epilog="Example: bench features list")
@stored
def listing(cache: str | None, as_json: bool) -> None:
    """Show every feature space: kind, items, share of items with a feature, size, and when it was last written."""
    from feature_extractors.store import catalogue

    root = store_folder(cache)
    rows = [_row(entry) for entry in catalogue.find_all(root)]
    aside = catalogue.set_aside(root)
    if as_json:
        click.echo(json.dumps({"store": str(root), "spaces": rows, "set_aside": [path.name for path in aside]}))
        return
    if not rows:
        click.echo(f"no features in {root}: `bench extract --extractor captions` makes some")
    width = max((len(row["id"]) for row in rows), default=0)
    if rows:
        click.echo(f"{'space':<{width}}  {'kind':<6}  {'items':>8}  {'ok':>6}  {'size':>9}  written (UTC)")
    for row in rows:
        share = "-" if row["ok"] is None else f"{row['ok']:.1%}"
        click.echo(
            f"{row['id']:<{width}}  {row['kind']:<6}  {row['items']:>8}  {share:>6}  {_size(row['bytes']):>9}  "
            f"{row['written']}" + (f"  {shared.printable(row['problem'])}" if row["problem"] else "")
        )
    for path in aside:
        click.echo(f"set aside as damaged: {path.name}, {_size(catalogue.folder_bytes(path))}; delete it when you like")


@features.command(epilog="Example: bench features show captions.vector")
@click.argument("space")
@stored
def show(space: str, cache: str | None, as_json: bool) -> None:
    """Show how a space was made, what became of its items, and diagnostics of its vectors."""
    from feature_extractors.store import catalogue, diagnostics

    root = store_folder(cache)
    entry = catalogue.find(root, space)
    store = entry.store
    index = readable(entry, lambda: catalogue.read_index(store))
    found: list[Diagnosis] = readable(entry, lambda: catalogue.diagnosed(store, index))
    reasons = sorted({reason for reason, status in zip(index.reason, index.status, strict=True) if status != "ok"})
    count = len(index.item_ids)
    facts = {
        "id": entry.id,
        "extractor": store.space.extractor,
        "version": store.space.version,
        "kind": store.space.kind,
        "config": dict(store.space.config),
        "provenance": dict(store.space.provenance),
        "made_into": catalogue.children(root, entry.id),
        "items": count,
        "status": index.counts,
        "reasons": reasons,
        "bytes": entry.bytes,
        "bytes_per_item": entry.bytes / count if count else 0.0,
        "seconds_per_item": float(index.seconds.mean()) if count else 0.0,
        "diagnostics": [one.as_json() for one in found],
        "degenerate": diagnostics.summary(found),
    }
    if as_json:
        click.echo(json.dumps(facts, default=str))
        return
    click.echo(f"{entry.id}: {facts['kind']} of {facts['extractor']}, version {facts['version']}")
    for name in ("config", "provenance"):
        click.echo(f"{name}:")
        for key, value in sorted(dict(facts[name]).items()):
            click.echo(f"  {key}: {shared.printable(json.dumps(value, ensure_ascii=False, default=str))}")
    for child in catalogue.children(root, entry.id):
        click.echo(f"made into: {child}")
    statuses = ", ".join(f"{number} {status}" for status, number in index.counts.items()) or "none"
    click.echo(f"items: {count} ({statuses})")
    for reason in reasons[:10]:
        click.echo(f"  {shared.printable(reason)}")
    click.echo(
        f"size: {_size(entry.bytes)}, {facts['bytes_per_item']:.0f} bytes an item; "
        f"{facts['seconds_per_item']:.4g} s an item"
    )
    _print_diagnostics(found)


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
@located
def export(space: str, target: str, form: str, cache: str | None) -> None:
    """Write the features of a space to files, with a card that says exactly how they were made."""
    from feature_extractors.store import catalogue
    from feature_extractors.store import export as exports

    entry = catalogue.find(store_folder(cache), space)
    folder = Path(target).expanduser().absolute()
    done = readable(entry, lambda: exports.export(entry, folder, form, _about(entry)))
    click.echo(f"{done.items} items of {entry.id} written to {folder}; {done.left_out} without a feature left out")


@features.command(epilog="Example: bench features delete captions.text-v1-0123456789ab")
@click.argument("space")
@click.option("--yes", is_flag=True, help="Do not ask.")
@located
def delete(space: str, yes: bool, cache: str | None) -> int:
    """Delete a space from the store."""
    from feature_extractors.store import catalogue

    root = store_folder(cache)
    entry = catalogue.find(root, space)
    children = catalogue.children(root, entry.id)
    if not yes:
        kept = f" ({', '.join(children)} was made from it and stays)" if children else ""
        if not click.confirm(f"delete {entry.id}, {_size(entry.bytes)}?{kept}"):
            click.echo("nothing was deleted")
            return 1
    click.echo(f"deleted {entry.id}: {_size(catalogue.delete(entry))} are free")
    return 0


@features.command(epilog="Example: bench features verify")
@click.argument("space", required=False)
@stored
def verify(space: str | None, cache: str | None, as_json: bool) -> int:
    """Check every row of a space (or of all) against its checksum; exit with 1 when something is damaged."""
    from dataclasses import asdict

    from feature_extractors.store import catalogue, verify

    root = store_folder(cache)
    entries = [catalogue.find(root, space)] if space else catalogue.find_all(root)
    results = []
    for entry in entries:
        if entry.space is None:
            problem = f"no readable description {entry.id}.json"
            results.append(verify.Verification(entry.id, problems=[problem]))
        else:
            results.append(verify.verify(entry.store))
    damaged = [found.id for found in results if not found.ok]
    if as_json:
        click.echo(json.dumps([{**asdict(found), "ok": found.ok} for found in results]))
        return 1 if damaged else 0
    for found in results:
        _print_verification(found)
    if damaged:
        click.echo("damaged rows are read by nothing; the next extraction makes them again", err=True)
    return 1 if damaged else 0


def _print_verification(found: Any) -> None:
    statuses = ", ".join(f"{number} {status}" for status, number in found.counts.items()) or "none"
    extra = f", {found.repeated} replaced by later ones" if found.repeated else ""
    extra += f", {found.mended} damaged and replaced" if found.mended else ""
    click.echo(
        f"{'ok' if found.ok else 'DAMAGED'}  {found.id}: {found.rows} rows, {found.items} items ({statuses}){extra}"
    )
    for line in [*found.problems, *found.damaged[:20]]:
        click.echo(f"  {shared.printable(line)}")
    if len(found.damaged) > 20:
        click.echo(f"  and {len(found.damaged) - 20} more rows")


def _print_diagnostics(found: list[Diagnosis]) -> None:
    from feature_extractors.store import diagnostics

    if not found:
        return
    click.echo(f"diagnostics of {found[0].items} items, {found[0].dim} dimensions:")
    width = max(len("part"), *(len(one.part) for one in found))
    click.echo(
        f"  {'part':<{width}}  {'eff. rank':>9}  {'norm mean':>9}  {'sd':>8}  {'min':>8}  {'max':>8}  {'cosine':>7}  "
        f"{'equal':>6}  {'constant':>8}  {'zero':>5}"
    )
    for one in found:
        cosine = "-" if one.cosine is None else f"{one.cosine:.4f}"
        click.echo(
            f"  {one.part or 'all':<{width}}  {one.effective_rank:>9.2f}  {one.norm_mean:>9.4g}  {one.norm_sd:>8.3g}  "
            f"{one.norm_min:>8.3g}  {one.norm_max:>8.3g}  {cosine:>7}  {one.duplicates:>6.1%}  {one.constant:>8}  "
            f"{one.zeros:>5}" + ("  DEGENERATE" if one.degenerate else "")
        )
    if diagnostics.summary(found):
        click.echo(f"DEGENERATE: {diagnostics.summary(found)}")
    elif found[0].items < diagnostics.MIN_ITEMS:
        click.echo(f"too few items to say whether the space is degenerate (at least {diagnostics.MIN_ITEMS})")


def _row(entry: Entry) -> dict[str, Any]:
    from feature_extractors.store import catalogue
    from protocols.errors import BenchError

    row: dict[str, Any] = {
        "id": entry.id,
        "extractor": entry.extractor,
        "kind": entry.space.kind if entry.space else "?",
        "items": 0,
        "ok": None,
        "bytes": entry.bytes,
        "written": f"{entry.written:%Y-%m-%d %H:%M}" if entry.written else "-",
        "problem": "",
    }
    try:
        index = readable(entry, lambda: catalogue.read_index(entry.store))
    except BenchError as error:
        row["problem"] = str(error)
        return row
    row["items"], row["ok"] = len(index.item_ids), index.ok_share if index.item_ids else None
    return row


def _about(entry: Entry) -> dict[str, str]:
    """What the plug-in that made a space says of itself, where it is installed."""
    from bench import registry
    from protocols.errors import BenchError

    name = entry.extractor.partition(".")[0]
    try:
        plugin = registry.load("extractor", name)
    except BenchError:
        return {}
    return {"summary": plugin.summary(), **{key: str(getattr(plugin, key, "")) for key in ("paper", "licence")}}


def _size(count: float) -> str:
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
