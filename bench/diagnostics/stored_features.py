"""Contents of the feature store as facts and as text: listing, description, verification."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import registry
from bench.console import printable
from feature_extractors.models.checkpoint import cards
from feature_extractors.store import catalogue, diagnostics, uses, verify
from feature_extractors.store import export as exports
from feature_extractors.store.catalogue import Entry
from feature_extractors.store.lance import DamagedStoreError
from protocols import object_store
from protocols.errors import BenchError, DataError
from protocols.wording import counted

UNITS = ("B", "kB", "MB", "GB", "TB")
# Lines of reasons and of damaged rows that are shown.
REASONS, DAMAGED = 10, 20


@contextmanager
def reading(entry: Entry) -> Iterator[None]:
    """Turn damage that is met while a space is read into an error with a remedy.

    Raises
    ------
    DataError
        If the space is damaged.
    """
    try:
        yield
    except DamagedStoreError as error:
        raise DataError(
            f"the feature space {entry.id} is damaged: {error}",
            remedy=f"`bench features verify {entry.id}` lists the damage; extract again to repair it",
        ) from error


def size(count: float) -> str:
    """Write a number of bytes with its unit.

    Examples
    --------
    >>> size(999), size(1_234_000)
    ('999 B', '1.2 MB')
    """
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def listing(root: Path) -> dict[str, Any]:
    """List every space of a store, and the folders set aside as damaged; JSON-able."""
    aside = [path.name for path in catalogue.set_aside(root)]
    spaces = [_row(entry) for entry in catalogue.find_all(root)]
    return {"store": object_store.shown(root), "spaces": spaces, "set_aside": aside}


def listing_text(root: Path, found: dict[str, Any]) -> str:
    """Write what `listing` returned as a table."""
    rows = found["spaces"]
    lines = []
    width = max((len(row["id"]) for row in rows), default=0)
    if rows:
        lines.append(f"{'space':<{width}}  {'kind':<6}  {'items':>8}  {'ok':>6}  {'size':>9}  written (UTC)")
    else:
        lines.append(f"no features in {root}: run `bench extract --extractor captions`")
    for row in rows:
        share = "-" if row["ok"] is None else f"{row['ok']:.1%}"
        lines.append(
            f"{row['id']:<{width}}  {row['kind']:<6}  {row['items']:>8}  {share:>6}  {size(row['bytes']):>9}  "
            f"{row['written']}" + (f"  {printable(row['problem'])}" if row["problem"] else "")
        )
        lines += [f"  {line}" for line in [_origin(row)] if line]
    for name in found["set_aside"]:
        lines.append(f"set aside as damaged: {name}, {size(catalogue.folder_bytes(root / name))}; may be deleted")
    return "\n".join(lines)


def _origin(row: Mapping[str, Any]) -> str:
    """Write checkpoints, precision, prompt and datasets of a space on one line."""
    prompt = " ".join(str(row["prompt"] or "").split())
    named = {
        "checkpoint": " + ".join(row["checkpoints"]),
        "dtype": row["dtype"],
        "dataset": ", ".join(row["datasets"]),
        "prompt": f"{prompt[:60]}..." if len(prompt) > 60 else prompt,
    }
    return "; ".join(f"{name} {printable(str(value))}" for name, value in named.items() if value)


def _row(entry: Entry) -> dict[str, Any]:
    config = dict(entry.space.config) if entry.space else {}
    checkpoints = entry.space.provenance.get("checkpoints") if entry.space else None
    row: dict[str, Any] = {
        "id": entry.id,
        "extractor": entry.extractor,
        "kind": entry.space.kind if entry.space else "?",
        "checkpoints": [str(one) for one in checkpoints or () if one] if isinstance(checkpoints, list) else [],
        "dtype": config.get("dtype"),
        "prompt": config.get("prompt"),
        "datasets": uses.of(entry.root, entry.id),
        "items": 0,
        "ok": None,
        "bytes": entry.bytes,
        "written": f"{entry.written:%Y-%m-%d %H:%M}" if entry.written else "-",
        "problem": "",
    }
    try:
        with reading(entry):
            index = catalogue.read_index(entry.store)
    except BenchError as error:
        row["problem"] = str(error)
        return row
    row["items"], row["ok"] = len(index.item_ids), index.ok_share if index.item_ids else None
    return row


def description(root: Path, name: str) -> dict[str, Any]:
    """Collect how a space was made, the status of its items, and diagnostics of its vectors; JSON-able.

    Raises
    ------
    UserError
        If no space, or several, have that id or beginning of an id.
    DataError
        If the space is damaged.
    """
    entry = catalogue.find(root, name)
    store = entry.store
    with reading(entry):
        index = catalogue.read_index(store)
        found = catalogue.diagnosed(store, index)
    count = len(index.item_ids)
    reasons = list(zip(index.reason, index.status, strict=True))
    return {
        "id": entry.id,
        "extractor": store.space.extractor,
        "version": store.space.version,
        "kind": store.space.kind,
        "config": dict(store.space.config),
        "provenance": dict(store.space.provenance),
        "made_into": catalogue.children(root, entry.id),
        "items": count,
        "status": index.counts,
        "reasons": sorted({reason for reason, status in reasons if status != "ok"}),
        "notes": dict(Counter(reason for reason, status in reasons if status == "ok" and reason).most_common()),
        "bytes": entry.bytes,
        "bytes_per_item": entry.bytes / count if count else 0.0,
        "seconds_per_item": float(index.seconds.mean()) if count else 0.0,
        "diagnostics": [one.as_json() for one in found],
        "degenerate": diagnostics.summary(found),
    }


def description_text(facts: dict[str, Any]) -> str:
    """Write what `description` returned, line by line."""
    lines = [f"{facts['id']}: {facts['kind']} of {facts['extractor']}, version {facts['version']}"]
    for name in ("config", "provenance"):
        lines.append(f"{name}:")
        for key, value in sorted(facts[name].items()):
            lines.append(f"  {key}: {printable(json.dumps(value, ensure_ascii=False, default=str))}")
    lines += [f"made into: {child}" for child in facts["made_into"]]
    lines.append(f"items: {facts['items']} ({_counts(facts['status'])})")
    lines += [f"  {printable(reason)}" for reason in facts["reasons"][:REASONS]]
    lines += [
        f"  {items} ok with the note: {printable(note)}" for note, items in list(facts["notes"].items())[:REASONS]
    ]
    if len(facts["notes"]) > REASONS:
        lines.append(f"  and {len(facts['notes']) - REASONS} more notes")
    lines.append(
        f"size: {size(facts['bytes'])}, {facts['bytes_per_item']:.0f} bytes an item; "
        f"{facts['seconds_per_item']:.4g} s an item"
    )
    return "\n".join([*lines, *_diagnostics(facts["diagnostics"], facts["degenerate"])])


def _diagnostics(found: Sequence[dict[str, Any]], degenerate: str) -> list[str]:
    if not found:
        return []
    items = found[0]["items"]
    width = max(len("part"), *(len(one["part"]) for one in found))
    lines = [
        f"diagnostics of {counted(items, 'item')}, {counted(found[0]['dim'], 'dimension')}:",
        f"  {'part':<{width}}  {'eff. rank':>9}  {'norm mean':>9}  {'sd':>8}  {'min':>8}  {'max':>8}  {'cosine':>7}  "
        f"{'equal':>6}  {'constant':>8}  {'zero':>5}",
    ]
    for one in found:
        cosine = "-" if one["cosine"] is None else f"{one['cosine']:.4f}"
        lines.append(
            f"  {one['part'] or 'all':<{width}}  {one['effective_rank']:>9.2f}  {one['norm_mean']:>9.4g}  "
            f"{one['norm_sd']:>8.3g}  {one['norm_min']:>8.3g}  {one['norm_max']:>8.3g}  {cosine:>7}  "
            f"{one['duplicates']:>6.1%}  {one['constant']:>8}  {one['zeros']:>5}"
            + ("  DEGENERATE" if one["degenerate"] else "")
        )
    if degenerate:
        lines.append(f"DEGENERATE: {degenerate}")
    elif items < diagnostics.MIN_ITEMS:
        lines.append(f"too few items to judge whether the space is degenerate (at least {diagnostics.MIN_ITEMS})")
    return lines


def export(root: Path, name: str, folder: Path, form: str) -> str:
    """Write the features of a space to files with a card, and return a line that says so."""
    entry = catalogue.find(root, name)
    with reading(entry):
        done = exports.export(entry, folder, form, _about(entry))
    return (
        f"{counted(done.items, 'item')} of {entry.id} written to {folder}; {done.left_out} without a feature left out"
    )


def _about(entry: Entry) -> dict[str, str]:
    """Return summary, paper and licence of the plug-in that made a space; empty where it is not installed."""
    try:
        plugin: Any = registry.load("extractor", entry.extractor.partition(".")[0])
    except BenchError:
        return {}
    return {"summary": plugin.summary(), "paper": plugin.paper, "licence": cards.licences_of(plugin)}


def verified(root: Path, name: str | None) -> list[dict[str, Any]]:
    """Check every row of a space, or of all spaces, against its checksum; JSON-able."""
    entries = [catalogue.find(root, name)] if name else catalogue.find_all(root)
    found = [
        verify.verify(entry.store)
        if entry.space
        else verify.Verification(entry.id, problems=[f"no readable description {entry.id}.json"])
        for entry in entries
    ]
    return [{**asdict(one), "ok": one.ok} for one in found]


def verified_text(found: Iterable[dict[str, Any]]) -> str:
    """Write what `verified` returned, space by space."""
    lines = []
    for one in found:
        extra = f", {one['repeated']} replaced by later ones" if one["repeated"] else ""
        extra += f", {one['mended']} damaged and replaced" if one["mended"] else ""
        lines.append(
            f"{'ok' if one['ok'] else 'DAMAGED'}  {one['id']}: "
            f"{counted(one['rows'], 'row')}, {counted(one['items'], 'item')} "
            f"({_counts(one['counts'])}){extra}"
        )
        lines += [f"  {printable(line)}" for line in [*one["problems"], *one["damaged"][:DAMAGED]]]
        if len(one["damaged"]) > DAMAGED:
            lines.append(f"  and {counted(len(one['damaged']) - DAMAGED, 'more row')}")
    return "\n".join(lines)


def _counts(status: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in status.items()) or "none"
