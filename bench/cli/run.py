"""`bench run`: train and rank cells, and print their board."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console
from bench.cli import options as shared
from protocols.wording import counted


@click.command(epilog="Example: bench run --extractor captions --model sasrec --seeds 5")
@click.option(
    "--extractor",
    metavar="NAME",
    help="captions, shuffled:captions, concat:captions+titles ... see `bench list extractors`.",
)
@click.option("--model", metavar="NAME", help="sasrec, pop ... see `bench list models`.  [default: sasrec]")
@click.option(
    "--fusion",
    metavar="NAME",
    help="id, replace, add, gate, concat, late-gate, self-gate, cross-attention (of concat:captions+titles); with "
    "features of layers also the layer fusion: gate/softmax, gate/last, gate/12@visual, gate/moe.  "
    "[default: gate; the only one of a model without an item encoder]",
)
@click.option("--protocol", metavar="NAME", help="[default: rolling-7d]")
@click.option("--seeds", metavar="N|A,B", help="Number of seeds, or a list of them; p and marks take 5.  [default: 1]")
@click.option(
    "--no-controls", is_flag=True, help="Leave out pop, recent-pop, newest, ease, id, random and the shuffled control."
)
@click.option("--preset", metavar="NAME", help="A shipped file that lists cells, e.g. demo-board.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A YAML file with these options; the command line wins."
)
@click.option(
    "--save-config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write these options to a file for --config.",
)
@click.option(
    "--track",
    type=click.Choice(["mlflow", "tensorboard", "wandb"]),
    help="Also log every record to this tracker, which must be installed.",
)
@shared.as_json
@shared.world
@shared.rank_users
@shared.checkpoints
@shared.workers
@shared.folders
def run(
    extractor: str | None,
    model: str | None,
    fusion: str | None,
    protocol: str | None,
    seeds: str | None,
    no_controls: bool,
    preset: str | None,
    config: Path | None,
    save_config: Path | None,
    track: str | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    rank_users: int | None,
    cache: str | None,
    results: str | None,
    jobs: int | None,
    device: str | None,
    ray: str | None,
    **short: str | None,
) -> int:
    """Train and rank one cell (or a preset's cells) and print the leaderboard."""
    sets = shared.with_rank_users(sets, rank_users)
    shared.check_names(sets, extractor=extractor, model=model, dataset=None if config else dataset, protocol=protocol)
    from bench.runs import cell_files
    from bench.runs import rows as row_specs

    content = cell_files.read_config(preset, config)
    cache, results = shared.use_file(content, cache, results)
    as_json, track = as_json or content.get("json", False), track or content.get("track")
    chosen = cell_files.override(
        content,
        extractor=extractor,
        model=model,
        fusion=fusion,
        protocol=protocol,
        seeds=seeds,
        dataset=dataset,
        jobs=jobs,
        device=device,
        ray=ray,
        controls=False if no_controls else None,
        track=track,
        cache=cache,
        results=results,
        json=as_json or None,
    )
    rows = cell_files.rows_of(chosen)
    options = shared.row_options(chosen, sets, [row.extractor for row in rows], short)
    if chosen.get("controls", "rows" not in chosen):
        rows = row_specs.with_controls(rows, chosen.get("protocol", cell_files.PROTOCOL))
    cell_files.check(chosen, rows, options)
    if save_config:
        cell_files.write_config(save_config, chosen, options)
        click.echo(f"wrote {save_config}: bench run --config {save_config} does the same", err=as_json)
    from bench import track as tracking
    from bench.cli import run_result
    from bench.runs import run as runs

    checks = cell_files.checks_of(chosen, preset or str(config))
    request = cell_files.request_of(chosen, rows, options, cache, results)
    if "dataset" not in chosen:
        click.echo("no --dataset given: this is the demo, simulated data; no evidence about real data", err=as_json)
    if track:
        tracking.require(track)
    outcome = runs.run(request, console.progress())
    if track:
        place = tracking.log(track, outcome.paths, request.results)
        click.echo(f"{counted(len(outcome.paths), 'record')} logged to {track}: {place}", err=as_json)
    return run_result.show(outcome, request, as_json, checks)
