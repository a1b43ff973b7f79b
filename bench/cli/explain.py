"""`bench explain`: layer weights, gate values and permutation importance of a trained model."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside
from protocols import json_text


@click.command(epilog="Example: bench explain sasrec/hidden-states/gate/moe --fold 3")
@click.argument("run")
@click.option("--seed", type=int, help="[default: the run's first]")
@click.option("--fold", type=int, help="[default: the run's last]")
@click.option("--clips", default=5, show_default=True, help="Clips named on either side of the layers (moe).")
@shared.data_options
@shared.as_json
@shared.one_run
@shared.folders
def explain(
    run: str,
    seed: int | None,
    fold: int | None,
    clips: int,
    sets: tuple[str, ...],
    as_json: bool,
    dataset: str | None,
    protocol: str | None,
    latest: bool,
    cache: str | None,
    results: str | None,
) -> None:
    """Print layer and gate weights of a trained model, and the loss of nDCG@10 when an input is ablated.

    RUN is a row of a board (model/extractor/fusion), a cell's id, or the path of a record. Its kept weights are used;
    without them the model is trained again. The result is kept beside the record, for `bench report`.
    """
    from bench import records
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells
    from bench.report.explain import explain as look
    from bench.runs import restore

    if as_json:
        refuse_beside("--json", ["--clips"])
    folder = settings.cache_folder(cache, reading=True)
    home = settings.results_folder(results, reading=True)
    chosen = lookup.select_one(run, read_cells(records.find(home), dataset, protocol), latest)
    path = lookup.record_of(chosen, run, seed, fold)
    wanted = restore.request(records.read(path), folder, home, settings.parse_sets(sets))
    found = look(restore.restore(path, wanted, console.progress()))
    kept = _keep(path, found)
    if as_json:
        click.echo(json_text.dumps(found))
        return
    record = records.read(path)
    click.echo(f"{records.Cell(**record.cell).label}, seed {record.seed}, fold {record.fold}")
    if record.simulated:
        click.echo("simulated data: a test of the software, no evidence about extractors")
    click.echo(f"{found['origin']}\n")
    _print(found, clips)
    click.echo(f"\n{kept}")


def _keep(path: Path, found: dict) -> str:
    """Keep the findings for `bench report` where the results can be written; return a line that says so."""
    from bench.report import explanations

    try:
        return f"kept in {explanations.write(path, found)} for bench report"
    except OSError as error:
        return f"not kept for bench report: {path.parent}: {error.strerror}"


def _print(found: dict, clips: int) -> None:
    from tabulate import tabulate

    from bench.report.explanations import leaning

    click.echo(f"nDCG@10 {found['value']:.4f}; inputs ablated at ranking, parameters as trained (95%, over users):\n")
    rows = [
        [one["part"], one["how"], f"{one['value']:.4f}", f"{one['cost']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]"]
        for one in found["knockouts"]
    ]
    click.echo(tabulate(rows, ["input", "replaced by", "nDCG@10", "cost"], tablefmt="github", disable_numparse=True))
    if found["gate"]:
        click.echo("\ngate, mean weight of the id vector (the rest is content's):")
        for name, value in found["gate"].items():
            click.echo(f"  {name}: {value:.3f}")
    if found["layer_weights"]:
        click.echo("\nlayers, mean weight:")
        for layer, weight in enumerate(found["layer_weights"]):
            click.echo(f"  {layer}: {weight:.3f}")
    for side in leaning(found["items"]):
        click.echo(f"\n{side['title'].lower()} (mean layer):")
        for item in side["items"][:clips]:
            click.echo(f"  {item['centre']:.2f}  {console.printable(item['title'] or item['id'])}")
