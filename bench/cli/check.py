"""`bench check`: guard a metric in continuous integration."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options as shared


@click.command(epilog="Example: bench check --baseline results/baselines/demo.json")
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="A committed baseline file.")
@click.option("--update", is_flag=True, help="Measure anew over 5 seeds and 1 and 2 threads, and write the file.")
@click.option("--jobs", default=2, show_default=True, help="Worker processes.")
@shared.folders
def check(baseline: Path, update: bool, jobs: int, cache: str | None, results: str | None) -> int:
    """Rerun the cells of a baseline and exit with 1 when a number is off by more than its tolerance."""
    from bench import check as checks
    from bench import console, settings

    folder = settings.cache_folder(cache)
    if update:
        command = f"bench check --baseline {baseline.as_posix()} --update"
        checks.update(baseline, folder, console.progress(), command, jobs)
        click.echo(f"wrote {baseline}")
        return 0
    differences = checks.check(baseline, folder, console.progress(), jobs)
    for d in differences:
        verdict = "ok  " if d.ok else "OFF "
        click.echo(f"{verdict} {d.cell}: {d.what} {d.found:.4f}, baseline {d.expected:.4f} +- {d.tolerance:.4f}")
    off = sum(not d.ok for d in differences)
    click.echo(f"{len(differences) - off} of {len(differences)} numbers within tolerance")
    return 1 if off or not differences else 0
