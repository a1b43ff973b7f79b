"""`bench extract`: fill the feature store, without any training."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import console, settings
from bench.cli import extraction_options as how
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside, refuse_without
from feature_extractors.base import ExtractContext
from feature_extractors.pipeline import sharding
from feature_extractors.text.limits import count_cut
from protocols.wording import counted

if TYPE_CHECKING:
    from feature_extractors.base import Extractor
    from protocols.features import Features

OVERWRITE = """never: only count stored features; missing: make missing ones, and retry those that ended in an error;
always: make all of them again, in all stages of the chain."""
SHARD = "Extract only part i (from 0) of n, for several machines that share the store and the item list."
ASSUME = """Of --plan: captions on paper, from assumptions and published rates: clips=20000,seconds=30; each is printed
with its source, nothing is run."""
REASONS = 12  # lines of the summary


@click.command(epilog="Example: bench extract --extractor captions --media FOLDER --min-coverage 0.95")
@click.option("--extractor", required=True, metavar="NAME", help="See `bench list extractors`.")
@click.option("--media", metavar="FOLDER", help="Any folder of clips instead of a dataset; ids are relative paths.")
@click.option("--overwrite", type=click.Choice(["never", "missing", "always"]), default="missing", help=OVERWRITE)
@click.option("--limit", type=int, metavar="N", help="Only the first N items in the order of their ids.")
@click.option("--items", "items_file", metavar="FILE", help="Only these items: one id a line, or a JSON list.")
@click.option("--shard", metavar="i/n", help=SHARD)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Exit with 1 when fewer than this share of the requested items have a feature.",
)
@click.option("--seed", default=1, show_default=True, help="For controls that draw random vectors.")
@how.machinery
@click.option("--assume", metavar="KEY=VALUE,...", help=ASSUME)
@click.option("--nodes", type=click.IntRange(1), metavar="N", help="Of --plan: machines like this one.")
@click.option("--price", type=click.FloatRange(0), metavar="X", help="Of --plan: price of a machine an hour.")
@click.option("--ray", metavar="ADDRESS", help=shared.RAY)
@click.option(
    "--gpus",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of a GPU for each call on a Ray cluster.",
)
@shared.world
@shared.checkpoints
@shared.folders
def extract(
    extractor: str,
    media: str | None,
    overwrite: str,
    limit: int | None,
    items_file: str | None,
    shard: str | None,
    min_coverage: float,
    seed: int,
    device: str,
    devices: str | None,
    workers: int | None,
    batch_size: str | None,
    planning: bool,
    assume: str | None,
    nodes: int | None,
    price: float | None,
    ray: str | None,
    gpus: float,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    **short: str | None,
) -> int:
    """Extract the features of all items of a dataset, or of a folder of clips, into the store.

    Stored features are not made again (see --overwrite). The run may be stopped at any time, and continues from there
    when started again; --limit, --items and --shard do a part of the work without changing its result.
    """
    shared.check_names(sets, extractor=extractor, dataset=dataset)
    _refuse_idle(planning, assume, ray)
    from bench.runs import rows

    options = shared.plugin_options(sets)
    simulated = not media and assume is None and rows.is_simulated(dataset or "demo")
    places = how.chosen_devices(device, devices, simulated)
    shared.merge_checkpoints(options, extractor, batch=how.batch_size(batch_size, places), **short)
    folder, bars = settings.cache_folder(cache), console.progress()
    chosen = rows.extractor_for(extractor, options, "" if media or assume is not None else dataset or "demo", places[0])
    if assume is not None:
        return _on_paper(chosen, assume, len(places), nodes or 1, price)
    bars.say(f"device {', '.join(places)}, dtype {getattr(chosen, 'dtype', '-')}")
    from bench.diagnostics import extraction_plan
    from bench.runs import cluster_extraction, sources
    from feature_extractors.files.ids import read_ids
    from feature_extractors.pipeline import resolution
    from feature_extractors.pipeline.devices import extract_on
    from feature_extractors.store import uses

    resolved = ExtractContext(folder / "features", places[0], seed=seed)
    chain = resolution.resolve_chain(chosen, resolved, simulated)
    for line in (*resolution.unlisted(chain), *resolution.near_spaces(chain, resolved)):
        bars.say(line)
    source = sources.open_source(dataset, media, options, folder, bars)
    part = sharding.parse_shard(shard) if shard else None
    items = read_ids(Path(items_file)) if items_file else None
    context = ExtractContext(
        folder / "features",
        places[0],
        bars,
        seed,
        how.decoders(workers, places),
        retry=overwrite == "missing",
        overwrite=overwrite,  # type: ignore[arg-type]
        only=sharding.choose(source.item_ids, items, part, limit),
        part="{}of{}".format(*part) if part else "",
        grow=batch_size in (None, "auto") and how.on_gpu(places),
    )
    if planning:
        found = extraction_plan.make(chosen, source, context, len(places), nodes or 1)
        if found is None:
            click.echo("nothing is left to do: the store has every requested item")
        else:
            batch, elsewhere = getattr(chosen, "batch", None), extraction_plan.elsewhere(chosen)
            click.echo(extraction_plan.text(found, batch, places, price, elsewhere))
            click.echo("nothing was stored; run the same command without --plan to begin")
        return 0
    clock = time.perf_counter()
    if ray:
        features = cluster_extraction.extract(chosen, source, context, ray, gpus)
    elif len(places) == 1:
        features = chosen.extract(source, context)
    else:
        features = extract_on(places, chosen, source, context, part or (0, 1))
    if features is None:
        click.echo(f"extractor {extractor!r} makes no features")
        return 0
    uses.note(folder / "features", features.space.id, f"folder {Path(media).name}" if media else dataset or "demo")
    asked = [at for at, one in enumerate(features.item_ids) if context.only is None or one in context.only]
    return _summary(features, asked, time.perf_counter() - clock, min_coverage)


def _refuse_idle(planning: bool, assume: str | None, ray: str | None) -> None:
    """Refuse options that others leave without effect."""
    if not planning:
        refuse_without("--plan", ("--nodes", "--price", "--assume"))
    else:
        refuse_beside("--plan", ("--ray", "--gpus", "--min-coverage"))
    if assume is not None:
        refuse_beside("--assume", ("--media", "--dataset", "--limit", "--items", "--shard", "--overwrite", "--workers"))
    if ray:
        refuse_beside("--ray", ["--devices"])
    else:
        refuse_without("--ray", ["--gpus"])


def _on_paper(chosen: Extractor, assume: str, devices: int, nodes: int, price: float | None) -> int:
    """Print a plan from assumptions."""
    from bench.diagnostics import paper_plan

    found = paper_plan.make(chosen, paper_plan.parse(assume), devices * nodes)
    click.echo(paper_plan.text(found, price, nodes))
    return 0


def _summary(features: Features, asked: Sequence[int], seconds: float, min_coverage: float) -> int:
    """Print the outcome of the requested items; return the exit code."""
    count, total = len(asked), len(features.item_ids)
    ok = int(features.ok[list(asked)].sum()) if asked else 0
    outcomes = Counter((str(features.status[at]), str(features.reason[at])) for at in asked)
    click.echo(f"space {features.space.id}")
    click.echo(f"{'items':>8}  {'share':>6}  {'status':<12} reason")
    for (status, reason), number in outcomes.most_common(REASONS):
        click.echo(f"{number:>8}  {number / count:>6.1%}  {status:<12} {console.printable(reason)}".rstrip())
    if len(outcomes) > REASONS:
        rest = sum(number for _, number in outcomes.most_common()[REASONS:])
        click.echo(f"{rest:>8}  {rest / count:>6.1%}  {len(outcomes) - REASONS} other outcomes")
    rate = f"{count / max(seconds, 1e-9):.1f} items/s"
    of = f"{count} of " if count < total else ""
    for remark, number in count_cut(str(features.reason[at]) for at in asked if features.ok[at]).items():
        click.echo(f"cut: {number} of {counted(ok, 'item')}, {console.printable(remark)}")
    coverage = ok / count if count else 1.0
    size = features.values[:1].nbytes
    click.echo(f"coverage {coverage:.1%} of {of}{counted(total, 'item')}, {size} bytes each, {seconds:.1f} s, {rate}")
    if coverage < min_coverage:
        click.echo(f"coverage is below --min-coverage {min_coverage:.1%}", err=True)
        return 1
    return 0
