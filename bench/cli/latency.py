"""`bench latency`: what serving costs when item vectors are stored."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from bench.cli import options as shared


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
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option("--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Where the data lie, if not as told.")
@shared.folders
def latency(
    run: str,
    sizes: tuple[int, ...],
    history: int,
    count: int,
    recall: float,
    as_json: bool,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
) -> None:
    """Time requests for one user from stored item vectors: exactly, through an index, and extracting at request time.

    RUN names one in the results folder (model/extractor/fusion, or a record's path). Its model is taken from the kept
    weights, or trained again from the record.
    """
    from tabulate import tabulate

    from bench import console, records, settings
    from bench.boards import lookup
    from bench.boards.cell_results import read_cells
    from bench.diagnostics import latency as measuring
    from bench.runs import restore
    from protocols.errors import UserError

    home = settings.results_folder(results)
    path = lookup.record_of(lookup.select_one(run, read_cells(records.find(home))), run)
    record = records.read(path)
    label = records.Cell(**record.cell).label
    wanted = restore.request(record, settings.cache_folder(cache), home, settings.parse_sets(sets))
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
        click.echo(json.dumps({"run": label, "extract_ms": extracting, "rows": [asdict(r) for r in rows]}))
        return
    body = [[r.way, r.items, f"{r.p50:.2f}", f"{r.p99:.2f}", f"{r.throughput:.0f}", f"{r.recall:.3f}"] for r in rows]
    head = ["retrieval", "items", "p50 ms", "p99 ms", "requests/s", f"recall@{measuring.TOP}"]
    click.echo(f"{label}, fold {record.fold}, seed {record.seed}: {restored.origin}\n")
    click.echo(tabulate(body, head, tablefmt="github", disable_numparse=True))
    click.echo(f"\nrequests: histories of {history} clips; items beyond the {own} of the dataset are simulated vectors")
    if extracting:
        click.echo(
            f"extracting the features of such a history at request time: {extracting:.0f} ms "
            f"(seconds per clip as recorded when they were extracted, one at a time in its batch)"
        )
