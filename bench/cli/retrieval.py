"""`bench retrieval`: retrieval of clips by their titles, at each layer."""

from __future__ import annotations

import click

from bench import console, settings
from bench.cli import extraction_options as how
from bench.cli import options as shared
from feature_extractors.base import ExtractContext
from protocols import json_text


@click.command(epilog="Example: bench retrieval --extractor hidden-states")
@click.option("--extractor", default="hidden-states", show_default=True, metavar="NAME", help="One that makes layers.")
@shared.as_json
@how.models
@shared.world
@shared.checkpoints
@shared.folders
def retrieval(
    extractor: str,
    as_json: bool,
    device: str,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    **short: str | None,
) -> None:
    """Retrieve clips by their titles in the states of each layer: a choice of layer without interactions.

    The best one suits `single-layer:K`; no user and no interaction is used.
    """
    from bench.diagnostics import retrieval as searching
    from bench.runs import sources
    from bench.runs.rows import extractor_for, is_simulated
    from feature_extractors.pipeline.devices import choose_device

    options = shared.plugin_options(sets)
    shared.merge_checkpoints(options, extractor, **short)
    folder, bars, name = settings.cache_folder(cache, reading=True), console.progress(), dataset or "demo"
    place = choose_device(device, is_simulated(name))
    chosen = searching.with_layers(extractor_for(extractor, options, name, place))
    source = sources.open_source(name, None, options, folder, bars)
    found = searching.of_extractor(chosen, source, ExtractContext(folder / "features", place, bars))
    if as_json:
        click.echo(json_text.dumps({"dataset": name, **searching.as_json(found)}))
    else:
        note = " (simulated data)" if is_simulated(name) else ""
        click.echo(f"{name}{note}: {searching.text(found)}")
