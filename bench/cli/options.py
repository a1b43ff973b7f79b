"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import settings
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.base import ItemSource
    from protocols.progress import Progress


def folders(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cache and --results."""
    command = click.option(
        "--results", metavar="FOLDER", help=f"Records [env {settings.RESULTS_VARIABLE}; default results/local]."
    )(command)
    return click.option(
        "--cache",
        metavar="FOLDER",
        help=f"Data, features, checkpoints [env {settings.CACHE_VARIABLE}; default user cache].",
    )(command)


def world(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dataset and --set."""
    command = click.option(
        "--set", "sets", multiple=True, metavar="NAME.OPTION=VALUE", help="Any option of a plug-in, e.g. sasrec.dim=32."
    )(command)
    return click.option("--dataset", metavar="NAME", help="[default: demo, a simulated world]")(command)


def checkpoints(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the short forms of the extractor's most used options."""
    command = click.option(
        "--frames", metavar="POLICY", help="Frame policy: uniform:8, first:30s/8, fps:1, clip-topk:4 ..."
    )(command)
    command = click.option("--prompt", metavar="NAME|FILE", help="Prompt by name, or a text file.")(command)
    command = click.option("--text-encoder", metavar="WHERE", help="Like --checkpoint, for the text encoder.")(command)
    return click.option("--checkpoint", metavar="WHERE", help="A directory, a hub id, 'pocket' or 'random'.")(command)


def plugin_options(sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Option values by plug-in name, from --set.

    Raises
    ------
    UserError
        If one is not NAME.OPTION=VALUE, or there is no such plug-in.
    """
    from bench import registry

    options = settings.parse_sets(sets)
    registry.check_options(options)
    return options


def merge_checkpoints(options: dict[str, dict[str, Any]], extractor: str, **short: str | int | None) -> None:
    """Enter the short forms into the options of the (innermost) extractor.

    Raises
    ------
    UserError
        If there are some, and several extractors that they may be meant for.
    """
    from bench import registry

    given = {name: value for name, value in short.items() if value is not None}
    among = registry.at_work("extractor", extractor)
    if given and len(among) > 1:
        option = next(iter(given))
        raise UserError(
            f"--{option.replace('_', '-')} may be meant for any of {', '.join(among)}",
            remedy=f"write --set {among[0]}.{option}=...",
        )
    options.setdefault(among[0], {}).update(given)


def printable(text: str) -> str:
    """Replace control characters, so that no name of a file can command a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def workers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --jobs and --device."""
    command = click.option("--device", help="Torch device.  [default: cpu]")(command)
    return click.option("--jobs", type=int, help=f"Worker processes.  [default: {default_jobs()}]")(command)


def default_jobs() -> int:
    """One process a core, eight at the most."""
    return min(os.cpu_count() or 1, 8)


def parse_seeds(text: str) -> list[int]:
    """Read `3` as seeds 1, 2, 3 and `1,5` as just those.

    Examples
    --------
    >>> parse_seeds("3"), parse_seeds("4,")
    ([1, 2, 3], [4])
    """
    try:
        if "," in text:
            seeds = sorted({int(part) for part in text.split(",") if part.strip()})
        else:
            seeds = list(range(1, int(text) + 1))
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise click.BadParameter(f"{text!r}: a number of seeds (3) or a list of them (1,5)", param_hint="--seeds")
    return seeds


def item_source(
    dataset: str | None, media: str | None, options: dict[str, dict[str, object]], cache: Path, bars: Progress
) -> ItemSource:
    """Items of a dataset, or of a folder of clips, with what was left out said.

    Raises
    ------
    UserError
        If both are named, or as `read_folder`.
    """
    from bench import registry
    from bench.runs import run as runs
    from feature_extractors.files.folder import read_folder

    if media is None:
        plugin = registry.create("dataset", dataset or "demo", options)
        return runs.item_source(plugin, plugin.load(cache, bars))
    if dataset is not None:
        raise UserError("--media and --dataset both say where the clips are: give one of them")
    found = read_folder(Path(media).expanduser())
    bars.say(f"{len(found.source.item_ids)} clips in {media}; {found.others} other files left out")
    if found.linked:
        bars.say(f"{found.linked} links to folders were not entered")
    for problem in found.unread:
        bars.say(f"not read: {printable(problem)}")
    return found.source
