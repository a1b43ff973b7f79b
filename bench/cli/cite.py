"""`bench cite` and `bench verify-table`: from a table to its sources and back."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options as shared


@click.command(epilog="Example: bench cite --dataset ml-100k > references.bib")
@click.option("--dataset", metavar="NAME", help="Only boards of this dataset.  [default: all]")
@click.option("--protocol", metavar="NAME", help="Only boards of this protocol.  [default: all]")
@shared.folders
def cite(dataset: str | None, protocol: str | None, cache: str | None, results: str | None) -> None:
    """Print BibTeX for what stands in the boards: dataset, extractors, models, this software; and each table's id."""
    from bench import settings
    from bench.boards import leaderboard
    from bench.publishing import citations
    from protocols.errors import UserError

    folder = settings.results_folder(results)
    groups = leaderboard.groups(folder, dataset, protocol)
    if not groups:
        raise UserError(f"no records in {folder}", remedy="bench run --extractor captions --model sasrec")
    click.echo(citations.bibliography(groups))


@click.command("verify-table", epilog="Example: bench verify-table paper/table.tex --results results/boards")
@click.argument("file", type=click.Path(path_type=Path))
@shared.folders
def verify_table(file: Path, cache: str | None, results: str | None) -> int:
    """Make the tables of a LaTeX or Markdown FILE again from the records they name; exit 1 when one does not match."""
    from bench import settings
    from bench.publishing import verify

    verdicts = verify.verify(file, settings.results_folder(results))
    for verdict in verdicts:
        click.echo(f"{'DIFFERS' if verdict.problems else 'ok'} line {verdict.claim.line}: table {verdict.claim.id}")
        for problem in verdict.problems:
            click.echo("  " + shared.printable(problem.replace("\n", "; ")))
    return int(any(verdict.problems for verdict in verdicts))
