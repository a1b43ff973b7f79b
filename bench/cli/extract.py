"""`bench extract`: fill the feature store without training anything."""

from __future__ import annotations

import time
from collections import Counter

import click

from bench.cli import options as shared


@click.command(epilog="Example: bench extract --extractor captions")
@click.option("--extractor", required=True, metavar="NAME", help="See `bench list extractors`.")
@click.option(
    "--min-coverage", default=0.0, show_default=True, help="Exit with 1 when fewer items than this share get a feature."
)
@click.option("--retry-errors", is_flag=True, help="Try items again whose status is 'error' (a crash, a time-out).")
@click.option("--seed", default=1, show_default=True, help="For controls that draw random vectors.")
@click.option("--device", default="cpu", show_default=True, help="Torch device.")
@shared.world
@shared.checkpoints
@shared.folders
def extract(
    extractor: str,
    min_coverage: float,
    retry_errors: bool,
    seed: int,
    device: str,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    **short: str | None,
) -> int:
    """Extract the features of all items of a dataset; what is stored already is not made again."""
    from bench import console, registry, settings
    from bench import run as runs
    from feature_extractors.base import ExtractContext

    options = settings.parse_sets(sets)
    registry.check_options(options)
    shared.merge_checkpoints(options, extractor, **short)
    folder, bars, name = settings.cache_folder(cache), console.progress(), dataset or "demo"
    plugin = registry.create("dataset", name, options)
    chosen = runs.extractor_for(extractor, options, name)
    source = runs.item_source(plugin, plugin.load(folder, bars))
    clock = time.perf_counter()
    context = ExtractContext(folder / "features", device, bars, seed, retry=retry_errors)
    features = chosen.extract(source, context)
    if features is None:
        click.echo(f"extractor {extractor!r} makes no features")
        return 0
    seconds = time.perf_counter() - clock
    coverage = float(features.ok.mean())
    click.echo(
        f"space {features.space.id}: {features.values.shape[0]} items, {len(features.values[:1].tobytes())} bytes each"
    )
    for (status, reason), count in Counter(zip(features.status, features.reason, strict=True)).most_common():
        click.echo(f"  {count:>7} {status}" + (f": {reason}" if reason else ""))
    click.echo(f"coverage {coverage:.1%}, {seconds:.1f} s, {len(source.item_ids) / max(seconds, 1e-9):.1f} items/s")
    if coverage < min_coverage:
        click.echo(f"coverage is below --min-coverage {min_coverage:.1%}", err=True)
        return 1
    return 0
