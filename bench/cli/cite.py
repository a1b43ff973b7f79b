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
@click.argument("file", type=click.Path(path_type=Path))
@shared.folders
def verify_table(file: Path, cache: str | None, results: str | None) -> int:
    """Compare the tables of a LaTeX or Markdown FILE with the records they name; exit 1 when one does not match."""
    from bench.publishing import verify

    verdicts = verify.verify(file, settings.results_folder(results, reading=True))
    for verdict in verdicts:
        click.echo(f"{'DIFFERS' if verdict.problems else 'ok'} line {verdict.claim.line}: table {verdict.claim.id}")
        for problem in verdict.problems:
            click.echo("  " + console.printable(problem.replace("\n", "; ")))
    return int(any(verdict.problems for verdict in verdicts))
