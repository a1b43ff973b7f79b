"""`bench latency`: serving time of a model with stored item vectors."""

from __future__ import annotations

from dataclasses import asdict

import click

from bench import console, settings
from bench.cli import options as shared
from protocols import json_text
from protocols.errors import UserError
from protocols.wording import counted


@click.command(epilog="Example: bench latency sasrec/captions/gate --catalogue 20000 --catalogue 1000000")
@click.argument("run")
@click.option(
    "--catalogue", "sizes", type=click.IntRange(20), multiple=True,
    help="Items to rank, beyond the dataset's own simulated ones; may be repeated.  [default: the dataset's own]",
)  # fmt: skip
@click.option("--history", type=click.IntRange(1), default=50, show_default=True, help="Clips in a user's history.")
@click.option("--requests", "count", type=click.IntRange(10), default=400, show_default=True, help="Users to serve.")
@click.option(
    "--recall", type=click.FloatRange(0, 1), default=0.95, show_default=True, help="Recall@10 an index must reach."
)
@shared.as_json
@shared.data_options
@shared.one_run
@shared.folders
def latency(
    run: str,
    sizes: tuple[int, ...],
    history: int,
    count: int,
    recall: float,
    as_json: bool,
    sets: tuple[str, ...],
    dataset: str | None,
    protocol: str | None,
    latest: bool,
    cache: str | None,
    results: str | None,
) -> None:
    """Time requests for one user from stored item vectors: exactly, through an index, and extracting at request time.

    RUN is a row of a board (model/extractor/fusion) or the path of a record. Its kept weights are used; without them
    the model is trained again from the record.
    """
    from bench import records
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells
    from bench.diagnostics import latency as measuring
    from bench.runs import restore

    home = settings.results_folder(results, reading=True)
    chosen = lookup.select_one(run, read_cells(records.find(home), dataset, protocol), latest)
    path = lookup.record_of(chosen, run)
    record = records.read(path)
    label = records.Cell(**record.cell).label
    wanted = restore.request(record, settings.cache_folder(cache, reading=True), home, settings.parse_sets(sets))
    bars = console.progress()
    restored = restore.restore(path, wanted, bars)
    scorer = restored.fitted.scorer
    if not hasattr(scorer, "user_vectors"):
        raise UserError(
            f"{label} does not score by a product of a user's and an item's vector",
            remedy="choose a run of sasrec, gru4rec, two-towers, bpr or another with a dot product",
        )
    task = restored.problem.task
    served = measuring.requests(list(task.users), task.histories, count, history)
    own = len(restored.problem.training.items)
    rows = measuring.measure(scorer, served, sizes or (own,), recall, bars)
    extracting = float(record.features.get("seconds_per_item", 0.0)) * history * 1000
    if as_json:
        click.echo(json_text.dumps({"run": label, "extract_ms": extracting, "rows": [asdict(r) for r in rows]}))
        return
    click.echo(f"{label}, fold {record.fold}, seed {record.seed}: {restored.origin}\n")
    click.echo(measuring.table(rows))
    click.echo(
        f"\nrequests: histories of {counted(history, 'clip')}; items beyond the {own} of the dataset are "
        "simulated vectors"
    )
    if extracting:
        click.echo(
            f"extracting the features of such a history at request time: {extracting:.0f} ms "
            f"(seconds per clip as recorded when they were extracted, one at a time in its batch)"
        )
