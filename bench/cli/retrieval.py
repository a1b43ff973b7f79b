"""`bench retrieval`: at which layer titles find their clips."""

from __future__ import annotations

import json

import click

from bench.cli import extract_how as how
from bench.cli import options as shared


@click.command(epilog="Example: bench retrieval --extractor hidden-states")
@click.option("--extractor", default="hidden-states", show_default=True, metavar="NAME", help="One that makes layers.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
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
    """Search clips by their titles in the states of each layer: which layer to take, without a look at interactions.

    The best one is what `single-layer:K` may be given; no user and no interaction is looked at.
    """
    from tabulate import tabulate

    from bench import console, settings
    from bench.diagnostics import retrieval as searching
    from bench.runs import run as runs
    from feature_extractors.base import ExtractContext
    from feature_extractors.hidden_states import HiddenStates
    from protocols.errors import UserError

    options = shared.plugin_options(sets)
    shared.merge_checkpoints(options, extractor, **short)
    folder, bars, name = settings.cache_folder(cache), console.progress(), dataset or "demo"
    chosen = runs.extractor_for(extractor, options, name)
    if not isinstance(chosen, HiddenStates) or chosen.feature != "layers":
        raise UserError(
            f"extractor {extractor!r} makes no layers of a video language model",
            remedy="try hidden-states or linkedout",
        )
    source = shared.item_source(name, None, options, folder, bars)
    context = ExtractContext(folder / "features", device, bars)
    clips, titles = runs.extract(chosen, source, context), chosen.title_states(source, context)
    found = searching.by_layer(clips, titles, source.titles)
    layer, readout = searching.best(found)
    heads = [" ".join(column) for column in found.columns.tolist()]
    table = [
        {"layer": int(place[0]), "readout": str(place[1]), **dict(zip(heads, map(float, cells), strict=True))}
        for place, cells in zip(found.index, found.to_numpy(), strict=True)
    ]
    if as_json:
        facts = {**found.attrs, "space": clips.space.id, "best": {"layer": layer, "readout": readout}}
        click.echo(json.dumps({"dataset": name, **facts, "rows": table}))
        return
    said = " (simulated data)" if name == "demo" else ""
    click.echo(
        f"{name}{said}: titles and clips of {found.attrs['items']} items, {clips.space.provenance['checkpoints'][0]}; "
        f"R@1 of a blind search {found.attrs['chance']:.3f}"
    )
    click.echo(tabulate(table, headers="keys", tablefmt="github", floatfmt=".3f"))
    click.echo(
        f"highest MRR: layer {layer}, readout {readout}: single-layer:{layer} with single-layer.readout={readout}"
    )
