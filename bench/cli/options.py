"""Options that several commands share, and what is made of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from bench import registry, settings
from feature_extractors.models.serving.engines import Engine
from protocols.errors import UserError

if TYPE_CHECKING:
    pass

DTYPE = "Of the models' arithmetic: float32, bfloat16, float16; part of the key of features."
ENGINE = "Where the chat model runs: here (transformers or vllm), or on a server (openai); part of the key of features."
ENDPOINT = "Address of a server with OpenAI's interface: http://HOST:8000/v1. Its key: env BENCH_API_KEY."
QUANTIZE = "Weights in 4 bits (a GPU, and the extra `quantize`); part of the key of features."

RAY = """Extract and train on a Ray cluster: auto (the one this machine belongs to), ray://HOST:10001, or local; its
nodes share the folders of cache and results."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
data_options = click.option(
    "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Options of the dataset, e.g. files.media=clips/."
)


def cache_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cache."""
    text = f"Data, features, checkpoints; also s3://... [env {settings.CACHE_VARIABLE}; default user cache]."
    return click.option("--cache", metavar="FOLDER", help=text, callback=_use_cache)(command)


def _use_cache(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        context.with_resource(settings.using_cache(value))
    return value


def folders(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cache and --results."""
    text = f"Records; also s3://... [env {settings.RESULTS_VARIABLE}; default results/local]."
    return cache_option(click.option("--results", metavar="FOLDER", help=text)(command))


def boards(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dataset and --protocol, which select boards."""
    for name in ("protocol", "dataset"):
        command = click.option(f"--{name}", metavar="NAME", help=f"Only boards of this {name}.  [default: all]")(
            command
        )
    return command


def one_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dataset, --protocol and --latest, which narrow what the name of a run fits."""
    text = "Where a name fits several runs: the one written last."
    return boards(click.option("--latest", is_flag=True, help=text)(command))


def board_view(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --columns, --wide and --rows."""
    rows = "Best rows of each board; 0: all.  [default: 25 on a terminal, else all]"
    command = click.option("--rows", "most", type=click.IntRange(0), metavar="N", help=rows)(command)
    command = click.option("--wide", is_flag=True, help="All usual columns on a terminal, however wide.")(command)
    names = "row, score, ranks, minus-id, minus-shuffled, cold-among-cold, notes, warm, cold, hr, p, train, cell, cost"
    return click.option("--columns", "names", metavar="A,B,C", help=f"Columns of tables: {names}")(command)


def world(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dataset and --set."""
    command = click.option(
        "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Any option of a plug-in, e.g. sasrec.dim=32."
    )(command)
    return click.option("--dataset", metavar="NAME", help="[default: demo, a simulated world]")(command)


def rank_users(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --rank-users."""
    text = "Rank at most so many users a window, drawn with a seed: a board of its own.  [default: all]"
    return click.option("--rank-users", type=click.IntRange(1), metavar="N", help=text)(command)


def with_rank_users(sets: tuple[str, ...], rank_users: int | None) -> tuple[str, ...]:
    """Add --rank-users, an option of every protocol that can draw users, to the values of --set."""
    return sets if rank_users is None else (*sets, f"protocol.rank_users={rank_users}")


def checkpoints(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the short forms of the extractor's options that decide its features."""
    command = click.option(
        "--frames", metavar="POLICY", help="Frame policy: uniform:8, first:30s/8, fps:1, clip-topk:4 ..."
    )(command)
    command = click.option("--prompt", metavar="NAME|FILE", help="Prompt by name, or a text file.")(command)
    command = click.option("--endpoint", metavar="URL", help=ENDPOINT)(command)
    command = click.option("--engine", type=click.Choice(get_args(Engine)), help=ENGINE)(command)
    command = click.option("--quantize", type=click.Choice(["none", "4bit"]), help=QUANTIZE)(command)
    command = click.option("--dtype", metavar="TYPE", help=DTYPE)(command)
    command = click.option("--text-encoder", metavar="WHERE", help="Like --checkpoint, for the text encoder.")(command)
    return click.option("--checkpoint", metavar="WHERE", help="A directory, a hub id, 'pocket' or 'random'.")(command)


def workers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --jobs, --device and --ray."""
    command = click.option("--ray", metavar="ADDRESS", help=RAY)(command)
    text = "Torch device; auto: cuda, mps or cpu, on simulated data cpu.  [default: auto]"
    command = click.option("--device", help=text)(command)
    return click.option("--jobs", type=click.IntRange(1), help="Worker processes.  [default: one a core, at most 8]")(
        command
    )


def plugin_options(sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return option values by plug-in name, from --set.

    Raises
    ------
    UserError
        If one is not NAME.OPTION=VALUE, or names an unknown plug-in.
    """
    options = settings.parse_sets(sets)
    registry.check_options(options)
    return options


def check_names(sets: Sequence[str], **named: str | None) -> None:
    """Refuse unknown names of plug-ins before anything is imported for the run: a typo answers at once.

    Parameters
    ----------
    sets
        Values of --set.
    named
        Names as typed, by kind; None: not given.

    Raises
    ------
    UserError
        As `registry.check_name` and `plugin_options`.
    """
    for kind, spec in named.items():
        if spec is not None:
            registry.check_name(kind, spec)
    plugin_options(sets)


def with_engine(short: Mapping[str, Any]) -> dict[str, Any]:
    """Add `--engine openai` to short forms with an endpoint and without an engine."""
    return {**short, "engine": "openai"} if short.get("endpoint") and not short.get("engine") else dict(short)


def merge_checkpoints(options: dict[str, dict[str, Any]], extractor: str, **short: str | int | None) -> None:
    """Enter the short forms into the options of the (innermost) extractor.

    Raises
    ------
    UserError
        If short forms are given for an extractor that joins several.
    """
    given = {name: value for name, value in with_engine(short).items() if value is not None}
    among = registry.at_work("extractor", extractor)
    if given and len(among) > 1:
        option = next(iter(given))
        raise UserError(
            f"--{option.replace('_', '-')} may be meant for any of {', '.join(among)}",
            remedy=f"write --set {among[0]}.{option}=...",
        )
    options.setdefault(among[0], {}).update(given)


def merge_into_rows(options: dict[str, dict[str, Any]], extractors: Iterable[str], **short: str | None) -> None:
    """Enter the short forms into the options of all extractors of some rows that have them.

    Raises
    ------
    UserError
        If no extractor has such an option, or a checkpoint or a prompt may be meant for several.
    """
    names = list(dict.fromkeys(name for one in extractors for name in registry.at_work("extractor", one)))
    for option, value in with_engine(short).items():
        if value is None:
            continue
        having = [name for name in names if option in {f.name for f in fields(registry.load("extractor", name))}]
        word = f"--{option.replace('_', '-')}"
        if not having:
            raise UserError(f"{word} is an option of none of the extractors {', '.join(names)}")
        if len(having) > 1 and option in ("checkpoint", "prompt"):
            raise UserError(
                f"{word} may be meant for any of {', '.join(having)}", remedy=f"write --set {having[0]}.{option}=..."
            )
        for name in having:
            options.setdefault(name, {})[option] = value


def row_options(
    content: Mapping[str, Any], sets: Sequence[str], extractors: Sequence[str], short: Mapping[str, str | None]
) -> dict[str, dict[str, Any]]:
    """Collect the options of a file and of the command line, which wins, each with its short forms.

    Parameters
    ----------
    content
        Of the file of cells.
    sets
        Values of --set.
    extractors
        Of all rows.
    short
        Short forms on the command line.

    Raises
    ------
    UserError
        As `merge_into_rows`.
    """
    from bench.runs import cell_files

    options = cell_files.options_of(content, ())
    merge_into_rows(options, extractors, **{name: content.get(name) for name in cell_files.EXTRACTOR_OPTIONS})
    for name, values in settings.parse_sets(sets).items():
        options.setdefault(name, {}).update(values)
    merge_into_rows(options, extractors, **short)
    return options


def use_file(content: Mapping[str, Any], cache: str | None, results: str | None) -> tuple[str | None, str | None]:
    """Return the folders of the command line or else of a file of cells; names of datasets are looked up there."""
    if cache is None and "cache" in content:
        cache = content["cache"]
        click.get_current_context().with_resource(settings.using_cache(cache))
    return cache, results or content.get("results")


def store_folder(cache: str | None) -> Path:
    """Return the folder of the feature store, which may lie on a mount that cannot be written."""
    return settings.cache_folder(cache, reading=True) / "features"
