"""`bench run`: cells to records to a leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench.cli import options as shared
from protocols.errors import UserError

if TYPE_CHECKING:
    from bench.boards.anchors import Anchor
    from bench.boards.contrasts import Contrast

PRESETS = Path(__file__).parents[1] / "presets"
KEYS = (
    "dataset", "protocol", "extractor", "model", "fusion", "seeds", "set", "rows", "device", "jobs", "controls",
    "anchors", "contrasts",
)  # fmt: skip
#: Keys of files of cells that change no result: records do not repeat them.
NOT_PASSED = ("set", "rows", "grid", "exclude", "anchors", "contrasts")


class After(NamedTuple):
    """What is told when a run has ended, beside its board."""

    anchors: Sequence[Anchor]
    contrasts: Sequence[Contrast]


@click.command(epilog="Example: bench run --extractor captions --model sasrec --seeds 3")
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
    "features of layers also what becomes of them: gate/softmax, gate/last, gate/12@visual, gate/moe.  "
    "[default: gate; replace where a model knows no ids]",
)
@click.option("--protocol", metavar="NAME", help="[default: rolling-7d]")
@click.option("--seeds", metavar="N|A,B", help="Number of seeds, or a list of them.  [default: 1]")
@click.option("--no-controls", is_flag=True, help="Leave out pop, id, random and the shuffled control.")
@click.option("--preset", metavar="NAME", help="A shipped file that lists cells, e.g. demo-board.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A YAML file with these options; the command line wins."
)
@click.option(
    "--track",
    type=click.Choice(["mlflow", "tensorboard", "wandb"]),
    help="Also log every record to this tracker, which must be installed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the board as JSON.")
@shared.world
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
    track: str | None,
    as_json: bool,
    dataset: str | None,
    sets: tuple[str, ...],
    cache: str | None,
    results: str | None,
    jobs: int | None,
    device: str | None,
    **short: str | None,
) -> int:
    """Train and rank one cell (or a preset's cells) and print the leaderboard."""
    from bench import console
    from bench import track as tracking
    from bench.runs import run as runs

    given = {
        "extractor": extractor,
        "model": model,
        "fusion": fusion,
        "protocol": protocol,
        "seeds": seeds,
        "dataset": dataset,
        "jobs": jobs,
        "device": device,
    }
    chosen = {**_file(preset, config), **{k: v for k, v in given.items() if v is not None}}
    rows = _rows(chosen, preset)
    plugin_options = options_of(chosen, sets)
    if any(short.values()):
        for row in rows:
            shared.merge_checkpoints(plugin_options, row.extractor, **short)
    if not no_controls and chosen.get("controls", "rows" not in chosen):
        rows = runs.with_controls(rows)
    after = read_after(chosen, preset or str(config))
    request = request_of(chosen, rows, plugin_options, cache, results)
    if "dataset" not in chosen:
        click.echo(
            "no --dataset given: this is the demo, a simulated world; its numbers say nothing about real data",
            err=as_json,
        )
    if track:
        tracking.require(track)
    outcome = runs.run(request, console.progress())
    if track:
        place = tracking.log(track, outcome.paths, request.results)
        click.echo(f"{len(outcome.paths)} records logged to {track}: {place}", err=as_json)
    return show(outcome, request, as_json, after)


def options_of(chosen: dict[str, Any], sets: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Option values by plug-in name, of a file's `set` and of --set, which wins."""
    from bench import settings

    options = {name: dict(values) for name, values in chosen.get("set", {}).items()}
    for name, values in settings.parse_sets(sets).items():
        options.setdefault(name, {}).update(values)
    return options


def request_of(
    chosen: dict[str, Any],
    rows: list[Any],
    plugin_options: dict[str, dict[str, Any]],
    cache: str | None,
    results: str | None,
) -> Any:
    """Make the request of a file's content with the command line's words over it."""
    from bench import settings
    from bench.runs import run as runs

    return runs.Request(
        rows=rows,
        cache=settings.cache_folder(cache),
        results=settings.results_folder(results),
        dataset=chosen.get("dataset", "demo"),
        protocol=chosen.get("protocol", "rolling-7d"),
        seeds=shared.parse_seeds(str(chosen.get("seeds", 1))),
        options=plugin_options,
        device=chosen.get("device", "cpu"),
        jobs=int(chosen.get("jobs", shared.default_jobs())),
        passed={
            "rows": [[r.model, r.extractor, r.fusion] for r in rows],
            "set": plugin_options,
            **{k: str(v) for k, v in chosen.items() if k not in NOT_PASSED},
        },
    )


def read_after(chosen: dict[str, Any], where: str) -> After:
    """Read what a file of cells wants told when its run ends; `where` it stands is for errors."""
    from bench.boards import anchors, contrasts

    return After(anchors.read(chosen.get("anchors", []), where), contrasts.read(chosen.get("contrasts", []), where))


def show(outcome: Any, request: Any, as_json: bool, after: After) -> int:
    """Print the board of a finished run; exit code 1 where a row failed, or is far from what is published of it."""
    from bench import tables
    from bench.boards import anchors, contrasts, leaderboard

    board = leaderboard.build(outcome.paths)
    verdicts = anchors.judge(board, after.anchors)
    reports = contrasts.reports(after.contrasts, outcome.paths, request.cache)
    if as_json:
        facts = {"board": outcome.board, "cached": outcome.cached, "seconds": outcome.seconds, **board.as_json()}
        told = [report if isinstance(report, str) else report.as_json() for report in reports]
        click.echo(json.dumps({**facts, "anchors": [asdict(verdict) for verdict in verdicts], "contrasts": told}))
    else:
        click.echo(tables.render(board, "md"))
        for verdict in verdicts:
            click.echo("\n" + verdict.text)
        for report in reports:
            click.echo("\n" + (report if isinstance(report, str) else tables.comparison(report, "md")))
        click.echo("\n" + _summary(outcome, request.results))
    failed = [row for row in board.unranked if row.failed]
    for row in failed:
        click.echo(f"failed: {row.label}: {row.reason}", err=True)
    return 1 if failed or any(verdict.ok is False for verdict in verdicts) else 0


def _file(preset: str | None, config: Path | None) -> dict[str, Any]:
    from bench import settings
    from protocols.errors import did_you_mean

    if preset and config:
        raise UserError("--preset and --config both name a file of options: give one of them")
    if preset:
        known = {path.stem: path for path in PRESETS.glob("*.yaml")}
        if preset not in known:
            raise did_you_mean("preset", preset, known)
        config = known[preset]
    content = settings.read_yaml(config) if config else {}
    for key in content:
        if key not in KEYS:
            raise did_you_mean(f"key in {config}:", key, KEYS)
    return content


def _rows(chosen: dict[str, Any], preset: str | None) -> list[Any]:
    from bench.runs.run import RowSpec, default_fusion

    if "rows" in chosen:
        if chosen.keys() & {"extractor", "model", "fusion"}:
            raise UserError("the file lists rows already: leave out --extractor, --model and --fusion")
        try:
            return [RowSpec(**row) for row in chosen["rows"]]
        except TypeError as error:
            raise UserError(f"rows must be a list of {{model, extractor, fusion}}: {error}") from error
    extractor = chosen.get("extractor", "id")
    if "extractor" not in chosen and "model" not in chosen:
        raise UserError("nothing to run", remedy="bench run --extractor captions --model sasrec")
    model = chosen.get("model", "sasrec")
    return [RowSpec(model, extractor, chosen.get("fusion") or default_fusion(model, extractor))]


def _summary(outcome: Any, results: Path) -> str:
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in outcome.seconds.items())
    total = len(outcome.paths)
    served = (
        f"all {total} results served from earlier runs"
        if outcome.cached == total
        else f"{outcome.cached} of {total} results from earlier runs"
    )
    return f"time: {times}; {served}; records in {results}"
