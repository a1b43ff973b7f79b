"""Static site of records: a page for each board and run, and an index; it opens from a file and loads nothing."""

from __future__ import annotations

from collections import defaultdict
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench import records
from bench.boards import leaderboard
from bench.boards.cell_results import CellResults, finished, read_cells
from bench.report import board_view, explanations, run_view, text
from protocols.errors import UserError
from protocols.evaluation import metrics
from protocols.hashing import digest
from protocols.progress import Progress, Quiet

ASSETS = ("report.css", "theme.js", "figures.js", "board.js")
PLOTLY = "plotly.min.js"


def write(
    results: Path,
    folder: Path,
    dataset: str | None = None,
    protocol: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the site of everything below a results folder.

    Parameters
    ----------
    results
        Where records lie.
    folder
        Made if absent; pages of the same name are replaced, nothing else is touched.
    dataset, protocol
        Only boards of these.

    Returns
    -------
    Path
        Of `index.html`.

    Raises
    ------
    UserError
        If there are no records, or the folder cannot be written.
    """
    runs = finished(read_cells(records.find(results), dataset, protocol))
    if not runs:
        raise leaderboard.nothing_in(results)
    pages = environment()
    try:
        _copy_assets(folder)
        views = []
        groups = _by_board(runs)
        with (progress or Quiet()).task("pages", total=len(runs)) as bar:
            for mine in groups:
                views.append(_board(folder, pages, mine, alone=len(groups) == 1, bar=bar))
        views.sort(key=lambda view: (-len(view.board.rows), view.board.fingerprint))
        if len(views) > 1:
            _put(folder / "index.html", pages.get_template("index.html").render(views=views))
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or folder}: {error.strerror}", remedy="choose another folder with -o"
        ) from error
    return folder / "index.html"


def environment() -> Environment:
    """Load the templates of this package: everything put into them is escaped, undefined names are errors."""
    pages = Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals["words"] = text
    pages.filters["number"] = text.number
    return pages


def asset(name: str) -> str:
    """Read a file that pages load or hold."""
    return resources.files("bench.report").joinpath("assets", name).read_text(encoding="utf-8")


def alone(template: str, **facts: Any) -> str:
    """Fill in a template that extends `alone.html`: a page complete in itself, which loads nothing.

    Parameters
    ----------
    template
        Its name.
    facts
        What it shows.
    """
    style, script = Markup(asset("report.css")), Markup(asset("theme.js"))  # files of this package
    return environment().get_template(template).render(style=style, script=script, **facts)


def _by_board(runs: list[CellResults]) -> list[list[CellResults]]:
    groups: dict[tuple[str, str], list[CellResults]] = defaultdict(list)
    for run in runs:
        groups[run.board, metrics.fingerprint(run.any_record.metrics_version)].append(run)
    return list(groups.values())


def _board(folder: Path, pages: Environment, runs: list[CellResults], alone: bool, bar: Any) -> board_view.BoardView:
    """Write the pages of a board and of its runs."""
    board = leaderboard.build({path: record for run in runs for path, record in run.found.items()})
    name = digest(
        [board.fingerprint, runs[0].any_record.metrics_version], 12
    )  # a fingerprint comes from a file: it is no file name
    page = "index.html" if alone else f"board-{name}.html"
    by_cell = {run.cell.id: run for run in runs}
    known = {cell: found for cell, run in by_cell.items() if (found := explanations.for_page(run)) is not None}

    def page_of(cell: str) -> str:
        return f"run-{name}-{cell}.html"

    leaning = {cell for cell, found in known.items() if found["leaning"]}
    view = board_view.make(board, by_cell, page, page_of, leaning)
    _put(folder / page, pages.get_template("board.html").render(view=view))
    template, costs = pages.get_template("run.html"), {row.cell: row.costs for row in board.rows}
    for cell, run in by_cell.items():
        one = run_view.make(run, costs.get(cell, {}), known.get(cell))
        _put(folder / page_of(cell), template.render(view=one, board_page=page))
        bar.advance()
    return view


def _copy_assets(folder: Path) -> None:
    from plotly.offline import get_plotlyjs

    target = folder / "assets"
    target.mkdir(parents=True, exist_ok=True)
    for name in ASSETS:
        _put(target / name, asset(name))
    _put(target / PLOTLY, get_plotlyjs())


def _put(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
