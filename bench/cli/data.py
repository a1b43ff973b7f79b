"""`bench data`: prepare a dataset, check it, and show its contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from bench import console, registry, settings
from bench.cli import options as shared
from bench.cli.data_audit import audit
from bench.cli.data_export import export
from protocols import json_text
from protocols.datasets import prepared
from protocols.errors import UserError
from protocols.wording import counted

if TYPE_CHECKING:
    from protocols.dataset import Dataset, DatasetPlugin
    from protocols.progress import Progress

Options = dict[str, dict[str, Any]]


@click.group()
def data() -> None:
    """Prepare datasets, check them, and show their contents."""


data.add_command(audit)
data.add_command(export)


def dataset_words(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add NAME, the dataset's own options as `--OPTION VALUE`, --set and the folders."""
    command = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME] [--OPTION VALUE]...")(command)
    command = click.option(
        "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Another way to give an option."
    )(command)
    return shared.folders(command)


LOOSE = {"ignore_unknown_options": True}


@data.command(context_settings=LOOSE, epilog="Example: bench data prepare files --name mine --interactions log.csv")
@click.option("--name", "own_name", metavar="NAME", help="Keep the result: `--dataset NAME` is enough ever after.")
@dataset_words
def prepare(
    words: tuple[str, ...], own_name: str | None, sets: tuple[str, ...], cache: str | None, results: str | None
) -> None:
    """Render, find, index or read a dataset once; print its counts and the next commands.

    Options of the dataset (see `bench list datasets`) follow its name. With --name the data are kept in the cache
    folder as Arrow files under this name; the original files are not read again.
    """
    from bench.diagnostics import data_report

    if own_name is not None:
        registry.check_new_name(own_name)
        if registry.load("dataset", parse_words(words)[0]).simulated:  # type: ignore[attr-defined]
            raise UserError("simulated data keep their own name, which says so", remedy="leave out --name")
    said = console.Recorded(console.progress())
    plugin, dataset, options = _load(words, sets, cache, said)
    findings = plugin.inspect(dataset)
    name, given = plugin.name, options.get(plugin.name, {})
    replaced: list[str] = []
    if own_name is not None:
        command, folder = data_report.prepare_command(own_name, plugin, given), settings.cache_folder(cache)
        before = prepared.describe(folder, own_name) if own_name in prepared.names(folder) else None
        dataset = prepared.save(folder, own_name, dataset, command, said.lines)
        if before and before["fingerprint"] != dataset.fingerprint:
            replaced = [f"- Replaces other data of this name, made by: {before['command']}. Boards of both stay apart."]
        name, given = own_name, {}
    lines = [
        *data_report.head(dataset),
        *data_report.finding_lines(findings),
        *data_report.without_video(dataset),
        *(f"- {sentence}" for sentence in dataset.card),
        *replaced,
        *data_report.validation_lines(dataset),
        "next:",
        *(f"  {line}" for line in data_report.next_commands(dataset, name, given, cache)),
    ]
    click.echo("\n".join(lines))


@data.command("list", epilog="Example: bench data list")
@shared.as_json
@shared.cache_option
def list_prepared(as_json: bool, cache: str | None) -> None:
    """List the datasets that were prepared under a name of their own."""
    folder = settings.cache_folder(cache, reading=True)
    found = [{"name": name, **prepared.describe(folder, name)} for name in prepared.names(folder)]
    if as_json:
        click.echo(json_text.dumps(found))
    elif not found:
        click.echo("no dataset was prepared under a name; bench data prepare files --name mine --interactions FILE")
    for one in [] if as_json else found:
        counts = ", ".join(counted(one[f"{noun}s"], noun) for noun in ("user", "item", "interaction"))
        click.echo(f"{one['name']:<16} {counts}; {one['bytes'] / 1e6:.1f} MB, {one['prepared'][:10]}")
        click.echo(f"{'':<16} {one['command']}")


@data.command(epilog="Example: bench data delete mine")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared.cache_option
def delete(name: str, yes: bool, cache: str | None) -> int:
    """Delete a prepared dataset; the files that it was read from, records and features stay."""
    folder = settings.cache_folder(cache)
    prepared.require(folder, name)
    if not yes and not click.confirm(f"delete the prepared dataset {name!r}?"):
        click.echo("nothing was deleted")
        return 1
    prepared.delete(folder, name)
    click.echo(f"deleted {name}")
    return 0


@data.command(context_settings=LOOSE, epilog="Example: bench data check microlens --size 50k --root FOLDER")
@click.option("--media", "most", default=0, help="Open at most so many videos, spread evenly; 0: all.")
@click.option("--jobs", default=2, show_default=True, help="Decoding processes.")
@shared.as_json
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
    """Compare counts and files with their known values, open every video; exit with 1 on a difference."""
    from dataclasses import asdict

    from bench.diagnostics import data_report

    plugin, dataset, _ = _load(words, sets, cache)
    findings = plugin.inspect(dataset) + data_report.check_media(dataset, most, jobs, console.progress())
    off, known = (sum(f.ok is False for f in findings), sum(f.ok is not None for f in findings))
    if as_json:
        click.echo(json_text.dumps({**data_report.overview(dataset), "findings": [asdict(f) for f in findings]}))
    else:
        lines = [*data_report.head(dataset), *data_report.finding_lines(findings), *data_report.licence(dataset)]
        passed = f"{known - off} of {counted(known, 'check')} passed" if known else "no known counts to check against"
        click.echo("\n".join([*lines, *data_report.validation_lines(dataset), passed]))
    return 1 if off else 0


@data.command(context_settings=LOOSE, epilog="Example: bench data show ml-100k")
@shared.as_json
@dataset_words
def show(words: tuple[str, ...], sets: tuple[str, ...], as_json: bool, cache: str | None, results: str | None) -> None:
    """Print the contents of a dataset: counts, period, quantiles, columns, known leaks, licence, fingerprint."""
    from bench.diagnostics import data_report

    plugin, dataset, _ = _load(words, sets, cache)
    own = isinstance(plugin, prepared.Prepared)
    origin = prepared.describe(settings.cache_folder(cache), plugin.name) if own else {}
    if as_json:
        click.echo(json_text.dumps({**data_report.overview(dataset), **({"origin": origin} if origin else {})}))
        return
    click.echo(data_report.text(dataset))
    if origin:
        lines = (f"prepared {origin['prepared']} by: {origin['command']}", *(f"  {line}" for line in origin["said"]))
        click.echo("\n".join(lines))


def parse_words(words: Sequence[str]) -> tuple[str, dict[str, str | list[str]]]:
    """Split `NAME --option value` into the name (default: demo) and the dataset's options.

    `--dataset NAME`, as other commands have it, is a name too. Several values of one option are a list, as a shell
    makes them of `--interactions logs/*.csv`.

    Examples
    --------
    >>> parse_words(["microlens", "--size", "100k", "--root=/data"])
    ('microlens', {'size': '100k', 'root': '/data'})
    >>> parse_words(["files", "--interactions", "a.csv", "b.csv"])
    ('files', {'interactions': ['a.csv', 'b.csv']})
    >>> parse_words(["--dataset", "ml-100k"])
    ('ml-100k', {})
    """
    names: list[str] = []
    given: dict[str, list[str]] = {}
    rest = iter(words)
    last = names
    for word in rest:
        if not word.startswith("--"):
            last.append(word)
            continue
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = next(rest, "--")
        if not key or (not equals and value.startswith("--")):
            raise UserError(f"{word} needs a value", remedy=f"--{key} VALUE")
        last = given.setdefault(key.replace("-", "_"), [])
        last.append(value)
    names += given.pop("dataset", [])
    if len(names) > 1:
        raise UserError(f"one dataset at a time, but got {' and '.join(map(repr, names))}")
    return (names[0] if names else "demo"), {key: one[0] if len(one) == 1 else one for key, one in given.items()}


def _load(
    words: Sequence[str], sets: Sequence[str], cache: str | None, progress: Progress | None = None
) -> tuple[DatasetPlugin, Dataset, Options]:
    name, own = parse_words(words)
    options = shared.plugin_options(sets)
    options = {**options, name: {**options.get(name, {}), **own}}
    try:
        plugin = registry.create("dataset", name, options)
    except UserError as error:
        if own and not {name, f"--dataset={name}"} & set(words):
            first = "bench data COMMAND files --interactions FILE"
            raise UserError(f"{error}; no dataset was named: {name} is the default", f"NAME first: {first}") from error
        raise
    return plugin, plugin.load(settings.cache_folder(cache, reading=True), progress or console.progress()), options
