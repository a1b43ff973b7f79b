"""Command line: a lazy group of commands. Each command parses its arguments and calls one function."""

from __future__ import annotations

import errno
import gc
import importlib
import importlib.util
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import click

from bench import console
from protocols.errors import BenchError, BenchWarning, UserError

COMMANDS = {
    "run": "bench.cli.run:run",
    "grid": "bench.cli.grid:grid",
    "tune": "bench.cli.tune:tune",
    "leaderboard": "bench.cli.leaderboard:leaderboard",
    "runs": "bench.cli.runs:runs",
    "show": "bench.cli.show:show",
    "report": "bench.cli.report:report",
    "diff": "bench.cli.diff:diff",
    "explain": "bench.cli.explain:explain",
    "latency": "bench.cli.latency:latency",
    "compare": "bench.cli.compare:compare",
    "list": "bench.cli.list_plugins:list_plugins",
    "extract": "bench.cli.extract:extract",
    "doctor": "bench.cli.doctor:doctor",
    "features": "bench.cli.features:features",
    "data": "bench.cli.data:data",
    "probe": "bench.cli.probe:probe",
    "retrieval": "bench.cli.retrieval:retrieval",
    "cite": "bench.cli.cite:cite",
    "verify-table": "bench.cli.cite:verify_table",
    "paper": "bench.cli.paper:paper",
    "submit": "bench.cli.submit:submit",
    "verify": "bench.cli.submit:verify",
    "check": "bench.cli.check:check",
    "guide": "bench.cli.guide:guide",
    "import": "bench.cli.import_lists:import_lists",
}


#: Errors of a folder, not of this software: it is full, or may not be written or read.
_OF_THE_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


#: Errors of a path that a user has named: a file in place of a folder, or a folder in place of a file.
_OF_THE_PATH = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


class LazyGroup(click.Group):
    """Command group that imports a command's module when that command is used, and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return names in the order of a first visit."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        return _command(cmd_name) if cmd_name in COMMANDS else None

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, standalone_mode: bool = True, **more: Any
    ) -> Any:
        """Run a command line and exit with what its command returns.

        Exit codes of errors: 2 for a mistake of the user, 1 for a fault of this software, 130 after Ctrl-C.
        """
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **more)
        with console.clean_streams(), _warnings_as_lines() as given:
            code = self._exit_code(args, **more)
        sys.exit(code or max((category.exit_code for category in given), default=0))

    def _exit_code(self, args: Sequence[str] | None, **more: Any) -> int:
        try:
            check_packages()
            code = super().main(args, standalone_mode=False, **more) or 0
        except click.exceptions.Exit as error:
            code = error.exit_code
        except click.ClickException as error:
            error.show()
            code = 2
        except BenchError as error:
            code = _fail(str(error), error.remedy, error.exit_code)
        except (KeyboardInterrupt, click.Abort) as error:
            # click turns a KeyboardInterrupt into an Abort; the message about finished work is in the original
            kept = str(error.__cause__ or error) or "finished work is kept; run the same command again to continue"
            click.echo(f"\ninterrupted: {kept}", err=True)
            gc.freeze()  # the interpreter would look through all of torch for garbage before it ends
            code = 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            if error.errno not in (*_OF_THE_PLACE, *_OF_THE_PATH):
                raise
            remedy = (
                "free some space, or choose other folders with --cache and --results; then run again"
                if error.errno in _OF_THE_PLACE
                else "name another file or folder"
            )
            place = error.filename2 or error.filename or "cache or results folder"
            code = _fail(f"{place}: {os.strerror(error.errno).lower()}", remedy, 2)
        return code


@cache
def _command(name: str) -> click.Command:
    module, attribute = COMMANDS[name].split(":")
    return _prepared(getattr(importlib.import_module(module), attribute))


def _prepared(command: click.Command) -> click.Command:
    """Complete names, and refuse options given twice that count once, and NaN; below a command, too."""
    from bench.cli import completion

    completion.add(command)
    parse = command.parse_args

    def once(context: click.Context, args: list[str]) -> list[str]:
        if not context.resilient_parsing:
            _refuse_repeats(command.make_parser(context).parse_args(list(args))[2])
        rest = parse(context, args)
        _refuse_nan(command, context)
        return rest

    command.parse_args = once  # type: ignore[method-assign, assignment]
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _prepared(below)
    return command


def _refuse_repeats(given: Sequence[click.Parameter]) -> None:
    """Refuse a value that a later one would replace.

    Raises
    ------
    UserError
        Naming the option.
    """
    for at, parameter in enumerate(given):
        single = isinstance(parameter, click.Option) and not (
            parameter.multiple or parameter.is_flag or parameter.count
        )
        if single and parameter in given[:at]:
            rows = parameter.name in ("extractor", "model", "fusion")
            raise UserError(
                f"{parameter.opts[-1]} is given twice, and one value counts",
                remedy="leave one out" + (", or list rows in a file for bench grid" if rows else ""),
            )


def _refuse_nan(command: click.Command, context: click.Context) -> None:
    """Refuse numbers that ranges let through: every comparison with NaN is false.

    Raises
    ------
    UserError
        Naming the option.
    """
    for parameter in command.params:
        value = context.params.get(parameter.name or "")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{parameter.opts[-1]} {value}: expected a finite number", remedy="give a number")


@click.group(
    epilog="Example: bench run --extractor captions --model sasrec",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="video-rec-bench")
def cli() -> None:
    """Compare video recommenders that use multimodal LLM features."""


def main() -> None:
    """Run the command line of this process.

    Threads of torch sleep while they wait for each other, unless OMP_WAIT_POLICY says otherwise: beside other work on
    the same cores threads that spin take ten times as long for a step.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads its OpenMP library
    cli()


@contextmanager
def _warnings_as_lines() -> Iterator[list[type[BenchWarning]]]:
    """Print each warning of ours once, as a line; yield the list of their categories, which grows."""
    given: list[type[BenchWarning]] = []
    said: set[str] = set()
    with warnings.catch_warnings():
        other = warnings.showwarning
        warnings.simplefilter("always", BenchWarning)

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, BenchWarning):
                other(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                given.append(category)
                click.echo(f"warning: {console.clean(str(message))}", err=True)

        warnings.showwarning = show
        yield given


def _fail(message: str, remedy: str, code: int) -> int:
    click.echo(f"error: {console.clean(message)}", err=True)
    if remedy:
        click.echo(f"  try: {console.clean(remedy)}", err=True)
    return code


def check_packages() -> None:
    """Refuse to start when one of our import names resolves to another distribution.

    Raises
    ------
    UserError
        Naming that package: `recommenders` is also a distribution of its own.
    """
    home = Path(__file__).parents[2]
    for name in ("protocols", "feature_extractors", "recommenders"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).parents[1] if spec and spec.origin else None
        if origin != home:
            raise UserError(
                f"the import name {name!r} resolves to {origin or 'nothing'}, not to this project",
                remedy=f"uninstall the other package {name!r}, or use an environment of its own: uv run bench",
            )
