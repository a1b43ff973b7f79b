"""BENCHMARKS.md: all committed boards, with notes on the meaning of their numbers."""

from __future__ import annotations

import json
import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from bench import registry, tables
from bench.board_files import board_folder
from bench.boards import leaderboard
from bench.boards.leaderboard import Board
from bench.boards.rows import CEILING
from bench.tables import charts, columns, verdicts
from bench.tables.formats import plain
from bench.tables.layout import headline
from bench.tables.numbers import metric_name
from feature_extractors import published
from protocols.atomic_write import write_atomically
from protocols.datasets.demo.world import load_world
from protocols.errors import BenchError
from protocols.wording import counted

PROLOGUE = """# Benchmarks

Written from the records in `results/boards` by `bench guide --write`; never edited by hand.
`bench leaderboard --results results/boards` prints the boards, `bench report --results results/boards -o report/` makes
a site of them.

- The `demo` is a simulated world: clips, users and tastes are made by this repository. A board of it shows that the
  whole chain works and what its controls are worth; it is no evidence about real extractors, clips or users.
- `pocket` checkpoints are small models trained from scratch in this repository on clips of the same kind, and never
  comparable with real ones.
- `ml-100k` is real data (ratings of films, titles, no videos): a board of it says something about ids and titles there.

**Reading a board.** nDCG@10 ranks the rows; intervals are 95%, over users and seeds, and with fewer than five seeds
over users for these seeds only: then nothing is called significant. *minus shuffled* is the paired difference to the
same vectors on the wrong items, *minus id* to the same recommender without features; a claim about content needs both.
`random` and `mean:` (one constant vector) are controls too, `truth` (a gold description) and `oracle` (the simulator's
own probabilities) ceilings. *cold among cold* orders items without events in the fitted rows among themselves.
"""

#: Files beside the records of a board.
TABLE, FOREST, HEAT = "table.md", "forest.svg", "heat.svg"
#: Rows of a board on the page.
TEN = 10

_SEEN = {
    "named": "whoever sees the frames; the pocket captioner's training texts name it",
    "unnamed": "whoever sees the frames; no text that the pocket captioner was trained on names it",
    "sound": "whoever hears the clip; no frame shows it",
    "words": "whoever reads the picture or hears the voice",
    "personal": "nobody: only a user's own log tells it, through item ids",
    "recency": "whoever knows release times; no feature of a clip",
    "popularity": "nobody: only the log tells it",
    "drift": "nobody: a fashion that only the log tells",
    "habit": "content where it goes by setting and colour, nobody where it goes by hidden series",
}

_PAPERS = """
## Numbers that papers report

None of these has been rerun here, and protocols, candidates and data differ from ours and among each other: they are
not ranked, neither among themselves nor with our rows. *confidence* is that of the transcription; `bench/reference`
says how it was made.
"""


def page(boards: Sequence[Board], folders: Sequence[str]) -> str:
    """Write the page of some boards, a screen each.

    Parameters
    ----------
    boards
        Of any datasets; simulated ones come first, of several versions of one the latest, then the one of most folds.
        Of several that differ in options of the data the one with most rows has a screen, the others a line there.
    folders
        Of each board's own files (see `files_of`), relative to the page.
    """
    parts = [PROLOGUE]
    pairs = zip(boards, folders, strict=True)
    latest_first = sorted(pairs, key=lambda pair: (version_of(pair[0]), pair[0].facts["folds"]), reverse=True)
    groups: dict[tuple[str, ...], list[tuple[Board, str]]] = defaultdict(list)
    for pair in sorted(latest_first, key=lambda pair: (not pair[0].simulated, pair[0].facts["dataset"])):
        groups[same_data(pair[0])].append(pair)
    for group in groups.values():
        (board, folder), *others = sorted(group, key=lambda pair: -len(pair[0].rows))
        differing = [pair for pair in others if other_options(board, pair[0])]
        parts += ["", *section(board, folder), *beside(board, differing)]
        for other, place in others:
            parts += [] if other_options(board, other) else ["", *section(other, place)]
    return "\n".join([*parts, _PAPERS, _folded("Published numbers", papers()), ""])


def section(board: Board, folder: str) -> list[str]:
    """Write a board on one screen: verdicts, charts, the value of content, and the ten best rows."""
    facts = board.facts
    version = f" (version {facts['dataset_version']})" if facts["dataset_version"] else ""
    lines = [f"## {plain(facts['dataset'] + version)}, {plain(facts['protocol'])}", ""]
    lines += [f"{plain(line)}  " for line in headline(board)]
    lines += ["", *(f"- {plain(line)}" for line in (verdicts.best(board), *verdicts.verdict(board)))]
    lines += [f"- {plain(line)}" for line in verdicts.counts(board)]
    if charts.compared(board):
        lines += ["", f"![Differences to shuffled control and ids]({folder}/{FOREST})"]
        folded = f"{value_of_content(board)}\n\n![The same as a heat map]({folder}/{HEAT})"
        lines += ["", _folded("Extractors by recommenders: minus the shuffled control", folded)]
    rows = [row for row in board.rows if row.model != CEILING][:TEN]
    shown = columns.used(board, columns.USUAL, rows)
    heads, body = columns.table(board, shown, rows)
    count = f"The {len(rows)} best of {counted(len(board.rows), 'row')}" if len(rows) < len(board.rows) else "All rows"
    lines += ["", f"{count} ([whole table, with notes]({folder}/{TABLE})):", "", _table(heads, body)]
    lines += ["", plain(columns.legend(board, rows))] if columns.legend(board, rows) else []
    if board.simulated:
        lines += ["", _folded("What simulated users go by", factors(board))]
    return lines


def version_of(board: Board) -> str:
    """Return the version of a board's dataset without the options that some names of versions end in."""
    return str(board.facts["dataset_version"]).partition(",")[0]


def same_data(board: Board) -> tuple[str, ...]:
    """Return what boards have in common that differ in options of their data at most."""
    facts = board.facts
    return facts["dataset"], version_of(board), facts["protocol"], str(facts["folds"]), str(board.simulated)


def other_options(board: Board, other: Board) -> str:
    """Write the options of the data in which another board differs: `content_weight=2.0`."""
    ours, theirs = board.facts["dataset_options"], other.facts["dataset_options"]
    return ", ".join(f"{name}={value}" for name, value in theirs.items() if ours.get(name) != value)


def beside(board: Board, others: Sequence[tuple[Board, str]]) -> list[str]:
    """Write a line or two on each board of the same data with other options."""
    if not others:
        return []
    lines = ["", "With other options of the data:", ""]
    for other, folder in sorted(others, key=lambda pair: other_options(board, pair[0])):
        said = " ".join(verdicts.verdict(other))
        lines.append(f"- [{plain(other_options(board, other))}]({folder}/{TABLE}): {plain(said)}")
    return lines


def value_of_content(board: Board) -> str:
    """Write a table of extractors and fusions by models: the difference to the shuffled control."""
    rows = [row for row in board.rows if row.delta_vs_shuffled and not verdicts.is_control(row)]
    models = list(dict.fromkeys(row.model for row in rows))
    found = {(row.extractor, row.fusion, row.model): row.delta_vs_shuffled or {} for row in reversed(rows)}
    body = []
    for extractor, fusion in dict.fromkeys((row.extractor, row.fusion) for row in rows):
        cells = [found.get((extractor, fusion, model)) for model in models]
        marks = ["-" if one is None else f"{one['value']:+.4f}{_mark(one)}" for one in cells]
        body.append([extractor, fusion, *marks])
    note = f"{metric_name(board.metric)}; * the 95% interval does not hold 0 ({verdicts.seeds_of(board)})."
    return f"{_table(['features', 'fusion', *models], body)}\n\n{note}"


def _mark(difference: dict[str, float]) -> str:
    return "" if verdicts.side(difference) == "holds" else " *"


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    cells = [[plain(cell) for cell in row] for row in body]
    return tabulate(cells, [plain(head) for head in heads], tablefmt="github", disable_numparse=True)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def files_of(board: Board) -> dict[str, str]:
    """Write the files beside the records of a board, by name: its whole table and its charts."""
    name = f"{plain(board.facts['dataset'])}, {plain(board.facts['protocol'])}"
    parts = [f"# {name}", tables.render(board, "md")]
    if len({row.model for row in board.rows if row.extractor != "-"}) > 1:
        parts += ["## Extractors by recommenders", tables.render(board, "md", tables.View(pivot=True))]
    parts += ["## How this board was made", reproduction(board), ""]
    drawn = {FOREST: charts.forest(board), HEAT: charts.heat(board)}
    return {TABLE: "\n\n".join(parts)} | {name: chart for name, chart in drawn.items() if chart}


def folder_of(board: Board) -> Path:
    """Return the folder of a board below its results folder."""
    return board_folder(board.facts["dataset"], board.facts["protocol"], board.fingerprint)


def write(root: Path, file: Path) -> list[Path]:
    """Write the page of all boards below a results folder, and the files that it shows, beside the records.

    Returns
    -------
    list of Path
        What was written, the page first.
    """
    boards = leaderboard.boards(root)
    content = contents(boards, root, file)
    for path, text in content.items():
        write_atomically(path, text)
    return list(content)


def contents(boards: Sequence[Board], root: Path, file: Path) -> dict[Path, str]:
    """Return the text of each file of `write`."""
    homes = [root / folder_of(board) for board in boards]
    links = [Path(os.path.relpath(home, file.parent)).as_posix() for home in homes]
    found = {file: page(boards, links)}
    for board, home in zip(boards, homes, strict=True):
        found |= {home / name: text for name, text in files_of(board).items()}
    return found


def factors(board: Board) -> str:
    """Write the factors of simulated users' taste: group, factor, weight in units of utility, who can see it."""
    world = load_world()
    dose = float(board.facts["dataset_options"].get("content_weight", 1.0))
    body = [
        [group, name.replace("*", " x "), weight * dose]
        for group, members in world["content"].items()
        for name, weight in members.items()
    ]
    body += [[group, group, world[group]["weight"]] for group in ("personal", "recency", "popularity", "drift")]
    habit = world["habit"]
    body += [["habit", name, habit[name] * dose] for name in ("same_setting", "next_colour")]
    body.append(["habit", "next_series", habit["next_series"]])
    rows = [[group, name, f"{weight:.2f}", _SEEN[group]] for group, name, weight in body]
    table = tabulate(rows, ["group", "factor", "weight", "who can see it"], tablefmt="github", disable_numparse=True)
    note = f"What simulated users go by (content weight {dose:g}; a weight is the spread of its term in utility):"
    return f"{note}\n\n{table}"


def reproduction(board: Board) -> str:
    """Write the options, commits and versions of a board, and the commands that make it again."""
    facts = board.facts
    asked = ", ".join(f"{name}={value}" for name, value in sorted(facts["dataset_options"].items())) or "none"
    commits = ", ".join(f"{commit} ({counted(count, 'record')})" for commit, count in sorted(facts["commits"].items()))
    versions = "; ".join(facts["made_with"])
    lines = [
        f"Dataset options: {asked}. Content fingerprint {facts['dataset_fingerprint']}.",
        f"Commits: {commits}. Made with {versions}.",
        "Every record holds the options of its row as resolved, what was typed, and the fingerprints of data, fold and "
        f"features (`bench show`). `{_command(board)}` with the row's model, extractor and fusion makes a row again; "
        "`bench leaderboard --publish results/boards` adds it. On another machine or with other versions the last "
        "digits differ; `bench check` says by how much they may.",
    ]
    if any(published.typed(row.extractor) != row.extractor for row in board.rows):
        lines.append("Features `published:NAME@HASH` are those of a file: `--extractor published:NAME` in its folder.")
    if any(row.model == CEILING for row in board.rows):
        lines.append("The oracle knows the simulator's parameters: a row above it would be an error of ours.")
    return "\n".join(f"- {plain(line)}" for line in lines).replace("\\`", "`")


def _command(board: Board) -> str:
    """Write the command that makes a row again, without the row's own options."""
    facts = board.facts
    try:
        usual = registry.create("dataset", facts["dataset"], {}).options()
    except BenchError:  # a plug-in that is not installed here
        usual = {}
    words = ["bench", "run", "--dataset", facts["dataset"], "--protocol", facts["protocol"]]
    for name, value in sorted(facts["dataset_options"].items()):
        if value is not None and value != usual.get(name):
            words += ["--set", f"{facts['dataset']}.{name}={value if isinstance(value, str) else json.dumps(value)}"]
    seeds = facts["seeds"]
    listed = seeds and seeds != list(range(1, len(seeds) + 1))
    return shlex.join([*words, "--seeds", ",".join(map(str, [*seeds, ""])) if listed else str(len(seeds) or 1)])


def papers() -> str:
    """Write the published numbers as a table, a row for each paper, method, dataset and protocol."""
    rows = reference_rows()
    metrics = ["HR@10", "nDCG@10", "HR@20", "nDCG@20"]
    found: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    keys = ["paper", "method", "dataset", "protocol", "source", "confidence"]
    for row in rows.to_dict("records"):
        found[tuple(str(row[key]) for key in keys)][str(row["metric"])] = str(row["value"])
    body = []
    for key, values in found.items():
        other = [f"{metric}: {value}" for metric, value in values.items() if metric not in metrics]
        shown = [*key[:4], *(values.get(metric, "-") for metric in metrics), "; ".join(other) or "-", *key[4:]]
        body.append([plain(text) for text in shown])
    return tabulate(body, [*keys[:4], *metrics, "other", *keys[4:]], tablefmt="github", disable_numparse=True)


def reference_rows() -> pd.DataFrame:
    """Read published numbers as text: [paper, method, dataset, protocol, metric, value, source, confidence]."""
    with files("bench").joinpath("reference/rows.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
