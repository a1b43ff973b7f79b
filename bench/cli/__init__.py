"""The command line. Each command parses its words and calls one function; errors become exit codes here."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import click

from protocols.errors import BenchError, UserError

COMMANDS = {
    "run": "bench.cli.run:run",
    "grid": "bench.cli.grid:grid",
    "tune": "bench.cli.tune:tune",
    "leaderboard": "bench.cli.show:leaderboard",
    "show": "bench.cli.show_run:show",
    "report": "bench.cli.report:report",
    "diff": "bench.cli.diff:diff",
    "explain": "bench.cli.explain:explain",
    "latency": "bench.cli.latency:latency",
    "compare": "bench.cli.compare:compare",
    "list": "bench.cli.listing:listing",
    "extract": "bench.cli.extract:extract",
    "doctor": "bench.cli.doctor:doctor",
    "features": "bench.cli.features:features",
    "data": "bench.cli.data:data",
    "probe": "bench.cli.probe:probe",
    "retrieval": "bench.cli.retrieval:retrieval",
    "cite": "bench.cli.cite:cite",
    "verify-table": "bench.cli.cite:verify_table",
    "check": "bench.cli.check:check",
}


class Lazy(click.Group):
    """Imports a command's module only when that command is asked for: `bench --help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a first visit."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), name)


@click.group(
    epilog="Example: bench run --extractor captions --model sasrec",
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="video-rec-bench")
def cli() -> None:
    """Compare video recommenders that use multimodal LLM features."""


def main() -> None:
    """Run the command line; exit code 2 for the user's mistakes, 1 for ours or for a regression, 130 after Ctrl-C."""
    try:
        check_packages()
        sys.exit(cli(standalone_mode=False) or 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        if error.remedy:
            click.echo(f"  try: {error.remedy}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        # click turns a KeyboardInterrupt into an Abort; what was kept stands in the original
        kept = (
            str(error.__cause__ or error) or "everything finished so far is kept; run the same command again to go on"
        )
        click.echo(f"\ninterrupted: {kept}", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            click.echo(f"error: no space left on the device ({error.filename or 'cache or results folder'})", err=True)
            click.echo(
                "  try: free some space, or choose other folders with --cache and --results; then run again", err=True
            )
            sys.exit(2)
        raise


def check_packages() -> None:
    """Refuse to start when one of our import names belongs to somebody else's package.

    Raises
    ------
    UserError
        Naming the package in the way: `recommenders` is also a distribution of its own.
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
