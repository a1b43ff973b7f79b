"""`bench probe`: which planted factors can be read from features."""

from __future__ import annotations

import click

from bench.cli import options as shared


@click.command(epilog="Example: bench probe --extractor captions --extractor titles --extractor truth")
@click.option(
    "--extractor", "extractors", required=True, multiple=True, metavar="NAME", help="May be given several times."
)
@shared.world
@shared.folders
def probe(
    extractors: tuple[str, ...], dataset: str | None, sets: tuple[str, ...], cache: str | None, results: str | None
) -> None:
    """Print the accuracy of linear probes of every planted factor, on simulated data only."""
    from tabulate import tabulate

    from bench import console, registry, settings
    from bench.diagnostics import probe as probes
    from bench.runs import run as runs
    from feature_extractors.base import ExtractContext

    options = shared.plugin_options(sets)
    folder, bars, name = settings.cache_folder(cache), console.progress(), dataset or "demo"
    plugin = registry.create("dataset", name, options)
    loaded = plugin.load(folder, bars)
    factors, source = plugin.factors(loaded), runs.item_source(plugin, loaded)
    table: dict[str, list[str]] = {}
    deep = []
    for extractor in extractors:
        chosen = runs.extractor_for(extractor, options, name)
        features = runs.extract(chosen, source, ExtractContext(folder / "features", progress=bars))
        found = probes.probe(features, factors)
        for factor, accuracy, chance in found.itertuples():
            table.setdefault(factor, [f"{chance:.2f}"]).append(f"{accuracy:.2f}")
        if features.space.kind == "layers":
            deep.append((extractor, probes.probe_layers(features, factors)))
    click.echo(
        f"{name} (simulated data): accuracy of linear probes, five-fold over {len(factors)} items; numbers in thirds"
    )
    rows = [[factor, *cells] for factor, cells in table.items()]
    click.echo(tabulate(rows, ["factor", "most frequent", *extractors], tablefmt="github", disable_numparse=True))
    for extractor, found in deep:
        click.echo(
            f"\n{extractor} by layer; the column above takes, for each factor, the layer and readout that are best on "
            "inner folds"
        )
        rows = [
            [*place, *(f"{value:.2f}" for value in cells)]
            for place, cells in zip(found.index, found.to_numpy(), strict=True)
        ]
        click.echo(tabulate(rows, ["factor", "layer", *found.columns], tablefmt="github", disable_numparse=True))
