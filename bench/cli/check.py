"""`bench check`: regression test of metrics in continuous integration."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared
from bench.cli.idle_options import refuse_beside, refuse_without
from protocols.errors import UserError
from protocols.wording import counted


@click.command(epilog="Example: bench check --baseline results/baselines/demo.json")
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="A committed baseline file.")
@click.option("--update", is_flag=True, help="Measure anew over 5 seeds and 1 and 2 threads, and write the file.")
@click.option("--reason", metavar="TEXT", help="With --update: why the numbers may change; kept in the file.")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), help="Largest difference of a metric.  [default: the baseline's]"
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the numbers as JUnit XML.")
@click.option("--jobs", default=2, show_default=True, help="Worker processes.")
@shared.folders
def check(
    baseline: Path,
    update: bool,
    reason: str | None,
    tolerance: float | None,
    junit: Path | None,
    jobs: int,
    cache: str | None,
    results: str | None,
) -> int:
    """Rerun the cells of a baseline and exit with 1 when a number is off by more than its tolerance.

    On a difference it names the changed stage (dataset, split, features, model; packages) and the first users who
    differ. In a GitHub workflow the table goes to the step summary as well.
    """
    from bench import check as checks
    from bench import check_report

    if update:
        refuse_beside("--update", ("--tolerance", "--junit"))
    else:
        refuse_without("--update", ["--reason"])
    folder = settings.cache_folder(cache)
    if update:
        if not (reason or "").strip():
            raise UserError("--update changes the guarded numbers", remedy="say why: --reason 'a larger demo world'")
        command = f"bench check --baseline {baseline.as_posix()} --update"
        checks.update(baseline, folder, console.progress(), command, str(reason), jobs)
        click.echo(f"wrote {baseline}")
        return 0
    result = checks.check(baseline, folder, console.progress(), jobs, tolerance)
    for d in result.differences:
        click.echo(f"{'ok  ' if d.ok else 'OFF '} {d.cell}: {d.text}")
    for cell, lines in result.why.items():
        click.echo("\n  ".join([f"{cell} changed:", *lines]))
    if junit:
        check_report.junit(junit, result.differences, result.why)
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        check_report.summary(Path(os.environ["GITHUB_STEP_SUMMARY"]), result.differences, result.why)
    off = sum(not d.ok for d in result.differences)
    click.echo(f"{len(result.differences) - off} of {counted(len(result.differences), 'number')} within tolerance")
    return int(off > 0)
