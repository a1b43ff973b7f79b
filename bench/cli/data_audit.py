"""`bench data audit`: leak audit of a protocol on a dataset."""

from __future__ import annotations

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_without
from protocols import json_text
from protocols.progress import Quiet
from protocols.wording import counted


@click.command(epilog="Example: bench data audit --dataset demo --protocol rolling-7d --black-box sasrec")
@click.option("--protocol", metavar="NAME", default="rolling-7d", show_default=True)
@click.option("--black-box", "model", metavar="MODEL", help="Also fit it on logs with a changed future, and compare.")
@click.option("--extractor", metavar="NAME", help="Audit the statistics of its features, too.")
@click.option("--fusion", metavar="NAME", help="Of the black box.  [default: gate; id without --extractor]")
@shared.as_json
@shared.world
@shared.folders
def audit(
    protocol: str,
    model: str | None,
    extractor: str | None,
    fusion: str | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
) -> int:
    """Check every fold for eight kinds of leak; exit code 1 and the first offending row if there is one."""
    from bench.diagnostics import leak_audit
    from bench.runs import run as runs
    from bench.runs.rows import RowSpec, default_fusion

    if model is None:
        refuse_without("--black-box", ["--fusion"])
    model_name, extractor_name = model or ("sasrec" if extractor else "pop"), extractor or "id"
    row = RowSpec(model_name, extractor_name, fusion or default_fusion(model_name, extractor_name))
    request = runs.Request(
        rows=[row],
        cache=settings.cache_folder(cache),
        results=settings.results_folder(results),
        dataset=dataset or "demo",
        protocol=protocol,
        options=settings.parse_sets(sets),
    )
    progress = Quiet() if as_json else console.progress()
    prepared, jobs = runs.prepare(request, progress)
    found = leak_audit.folds(prepared, jobs, model is not None, progress)
    leak = leak_audit.first_leak(found)
    if as_json:
        content = [{"fold": f.fold, "info": f.info, "verdicts": f.verdicts} for f in found]
        head = {"dataset": prepared.dataset.name, "protocol": protocol, "board": prepared.board, "ok": not leak}
        click.echo(json_text.dumps({**head, "folds": content}))
    else:
        log = prepared.dataset.interactions
        click.echo(f"{prepared.dataset.name}, {counted(len(log), 'interaction')}; {protocol}, {len(found)} fold(s)\n")
        click.echo(leak_audit.tables(found) + "\n")
    if leak:
        click.echo(f"leak: {leak}", err=True)
    elif not as_json:
        click.echo("no leak found")
    return int(bool(leak))
