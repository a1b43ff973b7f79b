"""Output of a finished run: its board, its anchors, its contrasts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bench import records, tables
from bench.boards import anchors, board_json, contrasts, leaderboard
from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.cli import board_output
from bench.runs.cell_files import Checks
from bench.runs.run import Outcome, Request
from bench.tables.verdicts import is_control
from protocols import object_store
from protocols.wording import counted


def show(outcome: Outcome, request: Request, as_json: bool, checks: Checks, form: str | None = None) -> int:
    """Print the board of a finished run; return 1 where a row failed or is far from its published number, else 0."""
    board = leaderboard.build(outcome.paths)
    verdicts = anchors.judge(board, checks.anchors)
    reports = contrasts.reports(checks.contrasts, outcome.paths, request.cache)
    if as_json:
        compared = [report if isinstance(report, str) else report.as_json() for report in reports]
        facts = {"cached": outcome.cached, "seconds": outcome.seconds}
        facts |= {"anchors": [asdict(verdict) for verdict in verdicts], "contrasts": compared}
        click.echo(board_json.dumps([board], facts))
    else:
        texts = [report if isinstance(report, str) else tables.comparison(report, "md") for report in reports]
        board_output.show([board], form, tables.View(), asked=_asked(board, request))
        parts = [*(verdict.text for verdict in verdicts), *texts, _summary(outcome, request.results)]
        click.echo("\n" + "\n\n".join(parts))
    failed = [row for row in board.unranked if row.failed]
    for row in failed:
        click.echo(f"failed: {row.label}: {row.reason}", err=True)
    if failed:
        click.echo("the same command tries them again; `bench runs --failed` lists them", err=True)
    return 1 if failed or any(verdict.ok is False for verdict in verdicts) else 0


def count(outcome: Outcome) -> int:
    """Print how many results of a finished run there are; return 1 if one failed, else 0."""
    failed = [path for path in outcome.paths if not records.finished(path)]
    click.echo(f"{counted(len(outcome.paths), 'result')}, {len(failed)} failed, {outcome.cached} of earlier runs")
    for path in failed:
        click.echo(f"failed: {path}", err=True)
    return 1 if failed else 0


def _asked(board: Board, request: Request) -> BoardRow | None:
    """Return the first row of a request that makes a claim about content."""
    wanted = [(row.model, row.extractor) for row in request.rows]
    found = [row for row in board.rows if not is_control(row) and (row.model, row.extractor) in wanted]
    return min(found, key=lambda row: wanted.index((row.model, row.extractor)), default=None)


def _summary(outcome: Outcome, results: Path) -> str:
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in outcome.seconds.items())
    total = len(outcome.paths)
    served = (
        f"all {counted(total, 'result')} served from earlier runs"
        if outcome.cached == total
        else f"{outcome.cached} of {counted(total, 'result')} from earlier runs"
    )
    return f"time: {times}; {served}; records in {object_store.shown(results)}"
