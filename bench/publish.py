"""Committed results: compact copies of local records, and the page that is written from them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from bench import leaderboard, records, tables
from protocols.errors import UserError

# What boards are computed from; top lists stay local.
COLUMNS = ("user_id", "n_targets", "n_warm", "hr@10", "ndcg@10", "ndcg@10_warm", "ndcg@10_cold")

PROLOGUE = """# Benchmarks

Written by `bench leaderboard --results results/boards --write BENCHMARKS.md` from the records in `results/boards`;
never edited by hand.

What the numbers are: the `demo` is a simulated world (clips, users and tastes are made by this repository), and
`pocket` checkpoints are small models trained from scratch on clips of the same kind. They show that the whole chain
works and what its controls are worth. They are no evidence about real extractors, real clips or real users.

How to read a board: *nDCG@10* ranks the rows; intervals resample users with all their folds and seeds; *diff. to id*
is the paired difference to the same recommender without features. A row of an extractor says something about the
content of its features only beside its `shuffled:` twin (the same vectors on the wrong items), `mean:` (one constant
vector) and `random`. `truth` (a gold description of every planted factor) and `oracle` (the simulator's own
probabilities) are the ceilings of features and of ranking.
"""


def publish(source: Path, target: Path) -> list[Path]:
    """Copy the newest record of every complete, ranked cell, with the per-user columns that boards need.

    Parameters
    ----------
    source
        Results folder of local runs.
    target
        Results folder that is committed.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    UserError
        If there is nothing to copy.
    """
    copies = []
    found = records.read_all(source)
    for path in records.newest(found).values():
        record = found[path]
        if record.status != "ok":
            continue
        record.training = {k: v for k, v in record.training.items() if not k.endswith("curve")}
        folder = target / path.parent.relative_to(source)
        users = records.users(path)
        kept = users[[c for c in COLUMNS if c in users]].copy()
        small = {c: "float32" for c in kept if kept[c].dtype == "float64"} | {
            c: "int32" for c in kept if kept[c].dtype == "int64"
        }
        copy = records.write(folder, record, kept.astype(small))
        copy.write_text(json.dumps(asdict(record), separators=(",", ":"), default=str) + "\n", encoding="utf-8")
        copies.append(copy)
    if not copies:
        raise UserError(f"no finished records in {source}")
    return copies


def page(root: Path) -> str:
    """Write BENCHMARKS.md from the records below `root`."""
    boards = leaderboard.boards(root)
    return PROLOGUE + "".join(f"\n## {board.facts['dataset']}\n\n{tables.render(board, 'md')}\n" for board in boards)
