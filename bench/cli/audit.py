"""`bench data audit`: what a protocol makes of a dataset, and whether anything in it knows the future."""

from __future__ import annotations

import json
from typing import Any

import click

from bench.cli import options as shared
from bench.runs.run import RowSpec


@click.command(epilog="Example: bench data audit --dataset demo --protocol rolling-7d --black-box sasrec")
@click.option("--protocol", metavar="NAME", default="rolling-7d", show_default=True)
@click.option("--black-box", "model", metavar="MODEL", help="Also fit it on logs with a changed future, and compare.")
@click.option("--extractor", metavar="NAME", help="Audit the statistics of its features, too.")
@click.option("--fusion", metavar="NAME", help="Of the black box.  [default: gate; id without --extractor]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
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
    from bench import console, settings
    from bench.diagnostics import audit as audits
    from bench.runs import run as runs
    from protocols.progress import Quiet

    model_name, extractor_name = model or ("sasrec" if extractor else "pop"), extractor or "id"
    row = RowSpec(model_name, extractor_name, fusion or runs.default_fusion(model_name, extractor_name))
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
    found = audits.folds(prepared, jobs, model is not None, progress)
    failed = [(fold, verdict) for fold in found for verdict in fold.failed]
    if as_json:
        content = [{"fold": f.fold, "info": f.info, "verdicts": f.verdicts} for f in found]
        head = {"dataset": prepared.dataset.name, "protocol": protocol, "board": prepared.board, "ok": not failed}
        click.echo(json.dumps({**head, "folds": content}, default=str))
    else:
        log = prepared.dataset.interactions
        click.echo(f"{prepared.dataset.name}, {len(log)} interactions; {protocol}, {len(found)} fold(s)\n")
        click.echo(_info_table(found) + "\n\n" + _verdict_table(found) + "\n")
    if failed:
        fold, verdict = failed[0]
        where = f"fold {fold.fold}, {verdict['stage']}: " if "stage" in verdict else f"fold {fold.fold}: "
        click.echo(f"leak: {where}{verdict['check']}: {verdict['detail']}", err=True)
        return 1
    if not as_json:
        click.echo("no leak found")
    return 0


def _info_table(found: list[Any]) -> str:
    from tabulate import tabulate

    columns = [_info_lines(fold.info) for fold in found]
    names = list(dict.fromkeys(name for column in columns for name in column))
    body = [[name, *(column.get(name, "-") for column in columns)] for name in names]
    return tabulate(body, ["fold", *(str(f.fold) for f in found)], tablefmt="github", disable_numparse=True)


def _info_lines(info: dict[str, Any]) -> dict[str, str]:
    """What a fold holds, as the cells of its column."""
    lines = {}
    for name, key in (
        ("validation from (UTC)", "validation_border"),
        ("validation to", "validation_end"),
        ("test from", "border"),
        ("test to", "end"),
    ):
        if key in info:
            lines[name] = info[key].replace("T", " ").removesuffix(":00Z")
    for name, part in (("for validation", "fitted"), ("for test", "refitted")):
        if part in info:
            fitted = info[part]
            lines[f"fitted {name}"] = f"{fitted['interactions']}"
            lines[f"  its users, items {name}"] = f"{fitted['users']}, {fitted['items']}"
    lines |= {
        "events in the window" if "border" in info else "events kept": f"{info['interactions']}",
        "users ranked": f"{info['users']}",
        "targets": f"{info['targets']}",
        "targets a user, mean (median)": f"{info['targets_per_user_mean']:.2f} ({info['targets_per_user_median']:g})",
        "cold share of targets": f"{info['cold_targets'] / max(info['targets'], 1):.1%}",
    }
    if "released_in_window" in info:
        lines["released in the window"] = f"{info['released_in_window']:.1%}"
    lines |= {f"dropped: {why.replace('_', ' ')}": str(n) for why, n in info["dropped"].items()}
    lines["candidates"] = str(info["candidates"])
    return lines


def _verdict_table(found: list[Any]) -> str:
    from tabulate import tabulate

    names = [verdict["check"] for verdict in found[0].verdicts]
    body = []
    for name in names:
        verdicts = [next(v for v in fold.verdicts if v["check"] == name) for fold in found]
        told = next((v for v in verdicts if not v["ok"]), verdicts[-1])
        body.append([name, *("ok" if v["ok"] else "LEAK" for v in verdicts), told["detail"]])
    header = ["kind of leak", *(f"fold {f.fold}" for f in found), "first finding, or what was checked (last fold)"]
    return tabulate(body, header, tablefmt="github", disable_numparse=True)
