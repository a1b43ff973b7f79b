"""Completion of names on a command line: plug-ins, presets, rows of boards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from bench import registry, settings
from protocols.errors import BenchError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def plugins(kind: str) -> Complete:
    """Complete names of plug-ins of a kind; behind a wrapper those inside: `shuffled:cap`."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before = incomplete[: max(incomplete.rfind(mark) for mark in ":+") + 1]
        return _items((f"{before}{name}" for name in registry.known(kind)), incomplete)

    return complete


def presets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete names of presets."""
    from bench.runs import cell_files

    return _items((path.stem for path in cell_files.PRESETS.glob("*.yaml")), incomplete)


def fusions(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete names of fusions."""
    from bench.cli import list_plugins

    return _items((row["name"] for row in list_plugins.fusions()), incomplete)


def rows(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete rows of the boards in the results folder as model/extractor/fusion, and paths."""
    labels: Iterable[str] = ()
    with suppress(BenchError, OSError):
        labels = sorted(set(_labels(settings.results_folder(context.params.get("results"), reading=True))))
    found = _items(labels, incomplete)
    return found or [CompletionItem(incomplete, type="file")]


def _labels(root: Path) -> Iterable[str]:
    """Name the rows in a results folder by one record of each."""
    from pydantic_core import from_json

    from bench import board_files

    lines = (line for file in root.rglob(board_files.RECORDS) for line in file.read_bytes().splitlines())
    folders = {path.parent: path for path in root.rglob("s*-f*-*.json")}
    for text in (*lines, *(path.read_bytes() for path in folders.values())):
        with suppress(ValueError, KeyError, TypeError):
            yield _label(from_json(text))


def _label(record: dict) -> str:
    return "/".join(record["cell"][part] for part in ("model", "extractor", "fusion") if record["cell"][part] != "-")


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


#: By the name of an option or an argument.
OF = {
    **{kind: plugins(kind) for kind in ("extractor", "model", "dataset", "protocol")},
    **dict.fromkeys(("run", "runs", "run_a", "run_b", "baseline"), rows),
    "preset": presets,
    "fusion": fusions,
}


class Name(click.types.StringParamType):
    """Text that a shell completes."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so."""
        return self._complete(ctx, param, incomplete)


def add(command: click.Command) -> None:
    """Complete the names among the options and arguments of a command."""
    for parameter in command.params:
        if parameter.name in OF and parameter.type is click.STRING:
            parameter.type = Name(OF[parameter.name])
