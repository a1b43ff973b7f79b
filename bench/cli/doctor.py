"""`bench doctor`: can this machine run an extractor, and if not, what to do."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from bench.cli import extract_how as how
from bench.cli import options as shared


@click.command(epilog="Example: bench doctor --extractor captions --media FOLDER --device cuda")
@click.option("--extractor", required=True, metavar="NAME", help="See `bench list extractors`.")
@click.option("--media", metavar="FOLDER", help="Try a clip of this folder; without it, one is rendered.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@how.models
@shared.world
@shared.checkpoints
@shared.folders
def doctor(
    extractor: str,
    media: str | None,
    as_json: bool,
    device: str,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    **short: str | None,
) -> int:
    """Check device, disk, hub, decoder and checkpoint, extract from one clip, and say what to do about each.

    Checkpoints are those that `bench extract` would take with the same words. Exits with 0 when all is well, with 2
    when something must be done, with 1 when the fault is ours.
    """
    from bench import console, settings
    from bench.diagnostics import doctor as doctors
    from bench.runs import run as runs
    from feature_extractors.base import ExtractContext

    options = shared.plugin_options(sets)
    shared.merge_checkpoints(options, extractor, **short)
    folder, bars = settings.cache_folder(cache), console.progress()
    simulated = media is None and dataset in (None, "demo")
    chosen = runs.extractor_for(extractor, options, "demo" if simulated else dataset or "")
    with tempfile.TemporaryDirectory() as scratch:
        if simulated:
            source = doctors.rendered(Path(scratch))
        else:
            source = shared.item_source(dataset, media, options, folder, bars)
        checks = doctors.examine(chosen, source, ExtractContext(folder / "features", device, bars))
    bad = [check for check in checks if not check.ok]
    if as_json:
        click.echo(json.dumps({"ok": not bad, "extractor": extractor, "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            click.echo(f"{'ok ' if check.ok else 'BAD'}  {check.name:<20} {shared.printable(check.found)}")
            if check.remedy:
                click.echo(f"     {'':<20} -> {shared.printable(check.remedy)}")
        click.echo("all is well" if not bad else f"{len(bad)} of {len(checks)} checks say that something must be done")
    return max((check.code for check in bad), default=0)
