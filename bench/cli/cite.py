"""`bench cite` and `bench verify-table`: references of tables, and tables checked against their records."""

from __future__ import annotations

from pathlib import Path

import click

from bench import console, settings
from bench.cli import options as shared


@click.command(epilog="Example: bench cite --dataset ml-100k > references.bib")
@shared.boards
@shared.folders
def cite(dataset: str | None, protocol: str | None, cache: str | None, results: str | None) -> None:
    """Print BibTeX of the datasets, extractors and models of the boards, and of this software; and each table's id."""
    from bench.boards import leaderboard
    from bench.publishing import citations

    folder = settings.results_folder(results, reading=True)
    groups = leaderboard.groups(folder, dataset, protocol)
    if not groups:
        raise leaderboard.nothing_in(folder)
    click.echo(citations.bibliography(groups))


@click.command("verify-table", epilog="Example: bench verify-table paper/table.tex --results results/boards")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@shared.folders
def verify_table(files: tuple[Path, ...], cache: str | None, results: str | None) -> int:
    """Compare the tables of LaTeX or Markdown files with the records they name; exit 1 when one does not match."""
    from bench.publishing import verify

    found = verify.verify_all(files, settings.results_folder(results, reading=True))
    for file, verdicts in found.items():
        place = f"{file}, " if len(files) > 1 else ""
        for verdict in verdicts:
            answer = "DIFFERS" if verdict.problems else "ok"
            click.echo(f"{answer} {place}line {verdict.claim.line}: table {verdict.claim.id}")
            for problem in verdict.problems:
                click.echo("  " + console.printable(problem.replace("\n", "; ")))
    return int(any(verdict.problems for verdicts in found.values() for verdict in verdicts))
