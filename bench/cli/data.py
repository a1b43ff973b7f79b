"""`bench data`: prepare a dataset, check it, and look at it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.cli import options as shared
from bench.cli.audit import audit
from protocols.errors import UserError

if TYPE_CHECKING:
    from protocols.dataset import Dataset, DatasetPlugin, Finding

Options = dict[str, dict[str, Any]]


@click.group()
def data() -> None:
    """Prepare datasets, check them, and show what they hold."""


def dataset_words(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add NAME, the dataset's own options as `--OPTION VALUE`, --set and the folders."""
    command = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME] [--OPTION VALUE]...")(command)
    command = click.option(
        "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Another way to give an option."
    )(command)
    return shared.folders(command)


LOOSE = {"ignore_unknown_options": True}


@data.command(context_settings=LOOSE, epilog="Example: bench data prepare microlens --size 100k --root FOLDER")
@dataset_words
def prepare(words: tuple[str, ...], sets: tuple[str, ...], cache: str | None, results: str | None) -> None:
    """Render, find or index a dataset once, say what was found, and what to run next.

    Options of the dataset (see `bench list datasets`) follow its name.
    """
    plugin, dataset, options = _load(words, sets, cache)
    _print_head(dataset)
    _print_findings(plugin.inspect(dataset))
    items = dataset.items
    if "video" in items and items["video"].isna().any():
        absent = list(items.index[items["video"].isna()])
        named = ", ".join(absent[:10]) + (", ..." if len(absent) > 10 else "")
        click.echo(f"{len(absent)} of {len(items)} items have no video: {named}")
    click.echo("next:")
    for line in next_commands(plugin.name, dataset, options):
        click.echo(f"  {line}")


@data.command(context_settings=LOOSE, epilog="Example: bench data check microlens --size 50k --root FOLDER")
@click.option("--media", "most", default=0, help="Open at most so many videos, spread evenly; 0: all.")
@click.option("--jobs", default=2, show_default=True, help="Decoding processes.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@dataset_words
def check(
    words: tuple[str, ...],
    sets: tuple[str, ...],
    most: int,
    jobs: int,
    as_json: bool,
    cache: str | None,
    results: str | None,
) -> int:
    """Compare counts and files with what is known of them, open every video; exit with 1 when something is off."""
    from dataclasses import asdict

    from bench import console
    from bench.diagnostics import data_report

    plugin, dataset, _ = _load(words, sets, cache)
    findings = plugin.inspect(dataset) + data_report.check_media(dataset, most, jobs, console.progress())
    off = sum(f.ok is False for f in findings)
    if as_json:
        head = data_report.overview(dataset)
        click.echo(json.dumps({**head, "findings": [asdict(f) for f in findings]}))
        return 1 if off else 0
    _print_head(dataset)
    _print_findings(findings)
    click.echo(f"licence: {dataset.licence}")
    if dataset.citation:
        click.echo(f"cite: {dataset.citation}")
    known = sum(f.ok is not None for f in findings)
    click.echo(f"{known - off} of {known} checks passed")
    return 1 if off else 0


@data.command(context_settings=LOOSE, epilog="Example: bench data show ml-100k")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@dataset_words
def show(words: tuple[str, ...], sets: tuple[str, ...], as_json: bool, cache: str | None, results: str | None) -> None:
    """Print what a dataset holds: counts, period, quantiles, columns, known leaks, licence, citation, fingerprint."""
    from bench.diagnostics import data_report

    _, dataset, _ = _load(words, sets, cache)
    found = data_report.overview(dataset)
    if as_json:
        click.echo(json.dumps(found))
        return
    _print_head(dataset)
    click.echo(
        f"{found['items_without_interactions']} items without interactions, {found['repeats']} repeated (user, item) "
        f"pairs, density {found['density']:.2e}"
    )
    for key, what in (
        ("per_user", "interactions of a user"),
        ("per_item", "interactions of an item"),
        ("title_characters", "characters of a title"),
    ):
        if found[key]:
            click.echo(f"{what}: " + ", ".join(f"{q} {v:g}" for q, v in found[key].items()))
    for column, count in found["columns"].items():
        click.echo(f"column {column}: {count} of {found['items']} items")
    for sentence in dataset.card:
        click.echo(f"- {sentence}")
    click.echo(f"licence: {dataset.licence}")
    if dataset.citation:
        click.echo(f"cite: {dataset.citation}")


def parse_words(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Split `NAME --option value` into the name (default: demo) and the dataset's options.

    Examples
    --------
    >>> parse_words(["microlens", "--size", "100k", "--root=/data"])
    ('microlens', {'size': '100k', 'root': '/data'})
    """
    names: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            names.append(word)
            continue
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = next(rest, "--")
        if not key or (not equals and value.startswith("--")):
            raise UserError(f"{word} needs a value", remedy=f"--{key} VALUE")
        options[key.replace("-", "_")] = value
    if len(names) > 1:
        raise UserError(f"one dataset at a time, but got {' and '.join(map(repr, names))}")
    return (names[0] if names else "demo"), options


def next_commands(name: str, dataset: Dataset, options: Options) -> list[str]:
    """Return the three commands that make sense after `prepare`: check the data, run, look at the board."""
    given = options.get(name, {})
    check_words = [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    run_words = [word for key, value in given.items() for word in ("--set", f"{name}.{key}={value}")]
    kinds = (("video", "captions"), ("title", "titles"))
    extractor = next((e for c, e in kinds if c in dataset.items and dataset.items[c].notna().any()), "id")
    protocol = [] if dataset.timed else ["--protocol", "microlens-loo"]
    lines = (
        ["bench", "data", "check", name, *check_words],
        ["bench", "run", "--dataset", name, *run_words, *protocol, "--extractor", extractor, "--model", "sasrec"],
        ["bench", "leaderboard", "--dataset", name],
    )
    return [shlex.join(line) for line in lines]


def _load(words: Sequence[str], sets: Sequence[str], cache: str | None) -> tuple[DatasetPlugin, Dataset, Options]:
    from bench import console, registry, settings

    name, own = parse_words(words)
    options = shared.plugin_options(sets)
    options = {**options, name: {**options.get(name, {}), **own}}
    plugin = registry.create("dataset", name, options)
    return plugin, plugin.load(settings.cache_folder(cache), console.progress()), options


def _print_head(dataset: Dataset) -> None:
    from bench.diagnostics.data_report import utc

    log = dataset.interactions
    click.echo(f"{dataset.name} {dataset.version}{' (simulated)' if dataset.simulated else ''}")
    click.echo(f"{log['user_id'].nunique()} users, {len(dataset.items)} items, {len(log)} interactions")
    if dataset.timed:
        period = f"from {utc(log['timestamp'].iloc[0])} to {utc(log['timestamp'].iloc[-1])} UTC"
    else:
        period = "sequences without times"
    click.echo(f"{period}; {dataset.duplicates} exact duplicates dropped")
    click.echo(f"fingerprint {dataset.fingerprint}")


def _print_findings(findings: Sequence[Finding]) -> None:
    verdicts = {True: "ok  ", False: "OFF ", None: "    "}
    for f in findings:
        click.echo(f"{verdicts[f.ok]} {f.what}: {f.found}" + (f", expected {f.expected}" if f.expected else ""))


data.add_command(audit)
