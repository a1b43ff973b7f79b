"""`bench doctor`: check of this machine for an extractor, with remedies."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from bench import console, settings
from bench.cli import extraction_options as how
from bench.cli import options as shared
from feature_extractors.base import ExtractContext
from protocols import json_text


@click.command(epilog="Example: bench doctor --extractor captions --media FOLDER --device cuda")
@click.option("--extractor", default="captions", show_default=True, metavar="NAME", help="See `bench list extractors`.")
@click.option("--media", metavar="FOLDER", help="Try a clip of this folder; without it, one is rendered.")
@shared.as_json
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
    """Check device, disk, hub, decoder, checkpoint and server, extract from a clip, and print a remedy each.

    Checkpoints are those of `bench extract` with the same options. Exits with 0 when every check passes, with 2 when
    the user must act, with 1 when the fault is in this software.
    """
    shared.check_names(sets, extractor=extractor, dataset=dataset)
    from bench.runs import rows
    from feature_extractors.pipeline.devices import choose_device

    options = shared.plugin_options(sets)
    shared.merge_checkpoints(options, extractor, **short)
    folder, bars = settings.cache_folder(cache), console.progress()
    simulated = media is None and dataset in (None, "demo")
    place = choose_device(device, simulated)
    chosen = rows.extractor_for(extractor, options, "demo" if simulated else dataset or "", place)
    from bench.diagnostics import doctor as doctors
    from bench.runs import sources

    with tempfile.TemporaryDirectory() as scratch:
        if simulated:
            source = doctors.rendered(Path(scratch))
        else:
            source = sources.open_source(dataset, media, options, folder, bars)
        checks = doctors.examine(chosen, source, ExtractContext(folder / "features", place, bars))
    if as_json:
        ok = all(check.ok for check in checks)
        click.echo(json_text.dumps({"ok": ok, "extractor": extractor, "checks": [asdict(check) for check in checks]}))
    else:
        click.echo(doctors.text(checks))
    return max((check.code for check in checks if not check.ok), default=0)
