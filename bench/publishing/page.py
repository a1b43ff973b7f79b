"""BENCHMARKS.md: all committed boards, with notes on the meaning of their numbers."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from bench import tables
from bench.boards import leaderboard
from bench.boards.leaderboard import Board
from bench.boards.rows import CEILING
from bench.tables.formats import plain
from protocols.datasets.demo.world import load_world

PROLOGUE = """# Benchmarks

Written by `bench leaderboard --results results/boards --write BENCHMARKS.md` from the records in `results/boards`;
never edited by hand.

## What the numbers are, and are not

- The `demo` is a simulated world: clips, users and tastes are made by this repository. A board of it shows that the
  whole chain works and what its controls are worth. It is no evidence about real extractors, real clips or real users.
- `pocket` checkpoints are small models trained from scratch in this repository on clips of the same kind. They know
  this world better than a real checkpoint knows real videos, and are never comparable with one.
- `ml-100k` is real data (ratings of films, titles, no videos): a board of it says something about ids and titles there.
- The papers' own numbers stand in a table of their own at the end and are never ranked with ours.

## How to read a board

The metric in the header of *diff. to* ranks the rows (nDCG@10 unless said); *ranks* is the interval of a row's rank.
Intervals and p come from t over users and seeds, both drawn at random; with fewer than five seeds intervals are over
users, for these seeds only, and nothing is called significant. *diff. to* is the paired difference to the row named
there, *diff. to its id* to the same recommender without features. A row of an extractor says something about the
content of its features only beside its `shuffled:` control (the same vectors on the wrong items: *diff. to shuffled*),
`mean:` (one constant vector) and `random`. `truth` (a gold description of every planted factor) and `oracle` (the
simulator's own probabilities) are the ceilings of features and of ranking. *warm* ranks targets with events in the
fitted rows among such items, *cold* the others among all candidates, and *cold among cold* the same targets among
candidates without events, with interval and number of users: it tells if new items are put in the right order, be they
shown or not. Cold candidates are few, so that random scores have a value far above 0 there. *covered* is the share of
items with a feature of their own. Costs are what the records say: seconds and bytes of one item in the last stage of
the extractor's chain, wall seconds of training and ranking all folds of a seed, trainable parameters, peak resident
memory of the process.
"""

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


def page(root: Path) -> str:
    """Write the page from the records below `root`.

    Parameters
    ----------
    root
        Results folder; any number of boards of any datasets.
    """
    boards = leaderboard.boards(root)
    real = [board for board in boards if not board.simulated]
    parts = [PROLOGUE]
    for board in [*(board for board in boards if board.simulated), *real]:
        parts.append(f"\n## {plain(board.facts['dataset'])}, {plain(board.facts['protocol'])}\n")
        if board.simulated:
            parts.append(f"\n{tables.SIMULATED}\n\n{factors(board)}\n")
        parts.append(f"\n{tables.render(board, 'md')}\n")
        if len({row.model for row in board.rows if row.extractor != "-"}) > 1:
            parts.append(f"\n### Extractors by recommenders\n\n{tables.render(board, 'md', tables.View(pivot=True))}\n")
        parts.append(f"\n### How this board was made\n\n{reproduction(board)}\n")
    return "".join([*parts, _PAPERS, "\n", papers(), "\n"])


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
    commits = ", ".join(f"{commit} ({count} records)" for commit, count in sorted(facts["commits"].items()))
    versions = "; ".join(facts["made_with"])
    lines = [
        f"Dataset options: {asked}. Content fingerprint {facts['dataset_fingerprint']}.",
        f"Commits: {commits}. Made with {versions}.",
        "Every record holds the options of its row as resolved, what was typed, and the fingerprints of data, fold and "
        f"features (`bench show`). `bench run --dataset {facts['dataset']} --protocol {facts['protocol']} "
        f"--seeds {len(facts['seeds']) or 1}` with the row's model, extractor and fusion makes a row again; "
        "`bench leaderboard --publish results/boards` compacts it. On another machine or with other versions the last "
        "digits differ; `bench check` says by how much they may.",
    ]
    if any(row.model == CEILING for row in board.rows):
        lines.append("The oracle knows the simulator's parameters: a row above it would be an error of ours.")
    return "\n".join(f"- {plain(line)}" for line in lines).replace("\\`", "`")


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
