"""Static site of records: a page for each board and run, and an index; it opens from a file and loads nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench import records
from bench.boards import board_cache, leaderboard
from bench.boards.cell_results import CellResults, by_board, finished, read_cells
from bench.boards.leaderboard import Board
from bench.report import board_view, differing, explanations, links, run_view, text, user_values
from bench.report.board_view import BoardView
from feature_extractors.models.checkpoint import cards
from protocols.errors import UserError
from protocols.hashing import digest
from protocols.progress import Progress, Quiet
from protocols.wording import counted

ASSETS = ("report.css", "theme.js", "charts.js", "board.js", "compare.js")
#: File names of pages of `bench diff`, by the ids of the cells of their two runs.
Diffs = Mapping[tuple[str, str], str]


def write(
    results: Path,
    folder: Path,
    dataset: str | None = None,
    protocol: str | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
    diffs: Diffs | None = None,
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
    cache
        Where built boards are kept, see `bench.boards.board_cache`; None: they are built anew.
    diffs
        Pages of users with a hit under one run and none under another, by the ids of the two cells.

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
    found = (
        leaderboard.boards(results, dataset, protocol)
        if cache is None
        else board_cache.boards(results, cache, dataset, protocol)
    )
    built = {board.id: board for board in found}
    groups = by_board(runs)
    pages = environment()
    pages.globals["alone"] = len(groups) == 1
    try:
        _copy_assets(folder)
        facts = {"cards": cards.CARDS, "anchor": links.anchor, "pieces": links.linked}
        _put(folder / links.PAGE, pages.get_template("checkpoints.html").render(facts))
        views = []
        with (progress or Quiet()).task("pages", total=len(runs)) as bar:
            for mine, differs in zip(groups, differing.names(groups), strict=True):
                board = built[leaderboard.table_id(record for run in mine for record in run.found.values())]
                views.append(_board(folder, pages, board, mine, differs, diffs or {}, bar))
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
    pages.globals["checkpoints"] = links.checkpoints
    pages.filters |= {"number": text.number, "counted": counted}
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


def _board(
    folder: Path, pages: Environment, board: Board, runs: list[CellResults], differs: str, diffs: Diffs, bar: Any
) -> BoardView:
    """Write the pages of a board and of its runs, and the values of its users."""
    # a fingerprint comes from a file: it is no file name
    name = digest([board.fingerprint, runs[0].any_record.metrics_version], 12)
    page = "index.html" if pages.globals["alone"] else f"board-{name}.html"
    by_cell = {run.cell.id: run for run in runs}
    known = {cell: found for cell, run in by_cell.items() if (found := explanations.for_page(run)) is not None}
    view = board_view.make(board, by_cell, name, page, differs, {cell for cell in known if known[cell]["leaning"]})
    mine = {f"{a} {b}": target for (a, b), target in diffs.items() if {a, b} <= by_cell.keys()}
    methods = links.methods([*board.rows, *board.unranked])
    _put(folder / page, pages.get_template("board.html").render(view=view, methods=methods, diffs=mine))
    ranked = {row.cell: row for row in board.rows}
    _put(folder / f"users-{name}.js", _script(user_values.packed([by_cell[cell] for cell in ranked])))
    template = pages.get_template("run.html")
    for cell, run in by_cell.items():
        one = run_view.make(run, ranked[cell].costs if cell in ranked else {}, known.get(cell))
        _put(folder / view.page_of(cell), template.render(view=one, board=view))
        bar.advance()
    return view


def _script(values: Mapping[str, Any]) -> str:
    """Write data as a script, the one form that a page opened from a file may load; ASCII, so that nothing ends it."""
    return f"globalThis.userValues = {json.dumps(values, separators=(',', ':'))};\n"


def _copy_assets(folder: Path) -> None:
    target = folder / "assets"
    target.mkdir(parents=True, exist_ok=True)
    for name in ASSETS:
        _put(target / name, asset(name))


def _put(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
