"""Numbers and tables in README.md, BENCHMARKS.md and the guide, written from records and plug-ins.

`bench guide --write` writes all of them anew. A document says where something is written:
`<!-- written: NAME -->` ... `<!-- end -->`; the template is `bench/publishing/blocks/NAME.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate

from bench import registry
from bench.boards import board_json, leaderboard, lookup
from bench.boards.leaderboard import Board
from bench.boards.rows import BoardRow
from bench.publishing import page
from bench.tables import columns, verdicts
from bench.tables.formats import plain
from feature_extractors.models.model_types import TRIED
from protocols.errors import DataError, UserError

REPOSITORY = Path(__file__).parents[2]
BLOCKS = Path(__file__).with_name("blocks")
WIDTH = 120
_BLOCK = re.compile(r"<!-- written: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


Plugins = Callable[[str], list[dict[str, str]]]


class Sources:
    """Boards and tables that templates of blocks name.

    Parameters
    ----------
    boards
        Those of `results/boards`.
    repository
        Home of `results/aggregates`: boards, as `bench leaderboard --format json` prints them, of records that may not
        be passed on.
    plugins
        Description of all plug-ins of a kind, as `bench list` shows them.
    """

    def __init__(self, boards: Sequence[Board], repository: Path, plugins: Plugins) -> None:
        self._boards, self._repository, self._plugins = boards, repository, plugins

    def board(self, dataset: str) -> Board:
        """Return the board of a dataset: of several that of its latest version, with most folds, with most rows."""
        found = [board for board in self._boards if board.facts["dataset"] == dataset]
        if not found:
            raise UserError(f"no board of {dataset} in results/boards")
        return max(found, key=lambda board: (page.version_of(board), board.facts["folds"], len(board.rows)))

    def aggregate(self, name: str) -> Board:
        """Return a board whose records are not in the repository.

        Raises
        ------
        DataError
            If the file does not hold one board.
        """
        path = self._repository / "results" / "aggregates" / f"{name}.json"
        try:
            (board,) = board_json.read(path)
            return board
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: {error}", remedy="bench leaderboard --format json writes one") from error

    @staticmethod
    def row(board: Board, name: str) -> BoardRow:
        """Return the row of a board that a name fits, see `bench.boards.lookup.positions`."""
        found = lookup.positions(name, [row.label for row in board.rows], [row.cell for row in board.rows])
        if not found:
            raise UserError(f"no row {name!r} on the board of {board.facts['dataset']}")
        return board.rows[found[0]]

    def doses(self, dataset: str, option: str, name: str) -> str:
        """Write the value of the content of a row by an option of its data, on the boards that differ in this alone."""
        main = self.board(dataset)
        found = {}
        for board in self._boards:
            own = {key: value for key, value in board.facts["dataset_options"].items() if key != option}
            rest = {key: value for key, value in main.facts["dataset_options"].items() if key != option}
            if page.same_data(board) == page.same_data(main) and own == rest:
                row = self.row(board, name)
                parts = (row.delta_vs_shuffled, verdicts.minus_id(board, row))
                found[board.facts["dataset_options"][option]] = [
                    "-" if p is None else verdicts.interval(p) for p in parts
                ]
        body = [[f"{value:g}", *found[value]] for value in sorted(found)]
        return markdown([option.replace("_", " "), "minus shuffled", "minus id"], body)

    @classmethod
    def claim(cls, board: Board, name: str) -> str:
        """Write the value of the content of a row, see `bench.tables.verdicts.claim`."""
        return verdicts.claim(board, cls.row(board, name))

    @staticmethod
    def table(board: Board, names: str, most: int = 100) -> str:
        """Write the best rows of a board with some columns."""
        rows = board.rows[:most]
        heads, body = columns.table(board, columns.used(board, columns.chosen(names), rows), rows)
        return markdown(heads, body)

    @staticmethod
    def folder(board: Board) -> str:
        """Return the folder of a board, from the top of the repository."""
        return f"results/boards/{page.folder_of(board).as_posix()}"

    def extractors(self) -> str:
        """Write the table of extractors of this repository."""
        ours = {n for n, at in registry.names("extractor").items() if at.value.startswith("feature_extractors.")}
        keys = ("summary", "feature", "checkpoints", "licence")
        found = [one for one in self._plugins("extractor") if one["name"] in ours]
        rows = [[f"`{one['name']}`", *(one[key] or "-" for key in keys)] for one in found]
        lines = [["name", "chain", "feature", "on real data", "licence"], ["---"] * 5, *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def model_types() -> str:
    """Write the table of model types as tried."""
    parts = ("captions", "states", "embedding")
    rows = [[one.kind, one.label, one.frames, *(getattr(one, part) or "works" for part in parts)] for one in TRIED]
    return markdown(["model type", "models", "frames as", "captions", "hidden states", "embedding"], rows)


def markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Write a table in GitHub's Markdown."""
    cells = [[plain(cell) for cell in row] for row in body]
    return tabulate(cells, [plain(head) for head in heads], tablefmt="github", disable_numparse=True)


def filled(text: str, sources: Sources) -> str:
    """Write all blocks of a document anew.

    Raises
    ------
    UserError
        If a block has no template.
    """
    environment = Environment(
        loader=FileSystemLoader(BLOCKS), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names = ("board", "aggregate", "row", "claim", "table", "folder", "extractors", "doses")
    environment.globals |= {name: getattr(sources, name) for name in names}
    environment.globals["model_types"] = model_types
    environment.globals |= {name: getattr(verdicts, name) for name in ("best", "verdict", "counts", "seeds_of")}

    def write(found: re.Match[str]) -> str:
        name = found["name"]
        if not (BLOCKS / f"{name}.md").exists():
            raise UserError(f"no template {name}.md in {BLOCKS}")
        content = environment.get_template(f"{name}.md").render()
        return f"<!-- written: {name} -->\n\n{wrapped(content)}\n\n<!-- end -->"

    return _BLOCK.sub(write, text)


def wrapped(text: str) -> str:
    """Fold the paragraphs and list entries of a text; tables, pictures and code stay as they are."""
    parts = [part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip()]
    return "\n\n".join("\n".join(map(_folded, _entries(part))) for part in parts)


def _entries(part: str) -> list[str]:
    """Split a paragraph into list entries and lines that are not folded."""
    if part.startswith(("|", "!", "    ", "<")):
        return [part]
    return re.split(r"\n(?=- )", part)


def _folded(entry: str) -> str:
    if entry.startswith(("|", "!", "    ", "<")):
        return entry
    further = "  " if entry.startswith("- ") else ""
    return fill(entry, WIDTH, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)


def documents(plugins: Plugins, repository: Path = REPOSITORY) -> dict[Path, str]:
    """Return what every written document of the repository has to hold."""
    root = repository / "results" / "boards"
    boards = leaderboard.boards(root)
    sources = Sources(boards, repository, plugins)
    found = page.contents(boards, root, repository / "BENCHMARKS.md")
    for path in (repository / "README.md", *sorted((repository / "bench" / "guide").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if _BLOCK.search(text):
            found[path] = filled(text, sources)
    return found


def stale(found: Mapping[Path, str]) -> list[Path]:
    """List the documents that hold something else."""
    return [path for path, text in found.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
