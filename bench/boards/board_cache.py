"""Cache of built boards: comparisons over ten thousand records take seconds."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import records
from bench.boards import leaderboard
from protocols.atomic_write import write_atomically
from protocols.errors import BenchWarning, UserError
from protocols.hashing import digest

# What decides the content of a board: when one of these files changes, boards are built anew.
_STATISTICS = ("statistics", "row_values", "resampling", "significance_tests", "metrics", "fold_metrics", "slices")
_CODE = [
    "bench/board_files.py",
    "bench/records.py",
    "bench/record_schema.py",
    "bench/user_files.py",
    *(f"bench/boards/{name}.py" for name in ("cell_results", "leaderboard", "lookup", "rows")),
    *(f"protocols/evaluation/{name}.py" for name in _STATISTICS),
]
# Warnings that are kept with the boards.
_WARNINGS = (records.Skipped, leaderboard.Replaced)
# Kept builds; the oldest go.
_KEPT = 512


def boards(
    root: Path,
    cache: Path,
    dataset: str | None = None,
    protocol: str | None = None,
    metric: str = "ndcg@10",
    baseline: str | None = None,
) -> list[leaderboard.Board]:
    """Build the boards of a results folder, or take them from the cache where no record has changed.

    Records and per-user files are told apart by name, size and time of change; none is opened when the boards are
    there.

    Parameters
    ----------
    root, dataset, protocol, metric, baseline
        As `bench.boards.leaderboard.boards`.
    cache
        Cache folder.

    Returns
    -------
    list of Board
        Most rows first.

    Warns
    -----
    Skipped, Replaced
        As `bench.boards.leaderboard.groups`, also where boards come from the cache.
    """
    code, stats = _code(), {path: (size, changed) for path, size, changed in _listing(root)}
    place = cache / "boards"
    whole = place / f"{digest([code, sorted(stats.items()), dataset, protocol, metric, baseline])}.json"
    content = _taken(whole)
    if content is None:
        content = {"boards": [], "warnings": []}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", BenchWarning)
            groups = leaderboard.groups(root, dataset, protocol)
        content["warnings"] = [(w.category.__name__, str(w.message)) for w in caught if w.category in _WARNINGS]
        for group in groups:
            # a board whose records are as they were is not built again when another one has grown
            files = {str(file) for path in group for file in (records.source_of(path), records.frame_of(path))}
            one = (
                place / f"{digest([code, [(file, stats.get(file)) for file in sorted(files)], metric, baseline])}.json"
            )
            board = _taken(one)
            if board is None:
                board = leaderboard.build(group, metric, baseline).as_json()
                _keep(one, board)
            content["boards"].append(board)
        _keep(whole, content)
    for name, message in content["warnings"]:
        warnings.warn(message, next(one for one in _WARNINGS if one.__name__ == name), stacklevel=2)
    return leaderboard.most_rows_first(leaderboard.Board.from_json(board) for board in content["boards"])


def _taken(path: Path) -> dict[str, Any] | None:
    """Read a kept file; None where it is not there or was cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _code() -> str:
    home = Path(__file__).parents[2]
    return digest([(home / name).read_text(encoding="utf-8") for name in _CODE])


def _listing(root: Path) -> Iterator[tuple[str, int, int]]:
    """List name below the folder, size and time of change of every file that boards are made from."""
    waiting = [str(root)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except FileNotFoundError:
            continue
        except NotADirectoryError as error:
            raise UserError(f"{root} is no folder", remedy="--results FOLDER") from error
        for entry in entries:
            if entry.is_dir():
                waiting.append(entry.path)
            elif entry.name.endswith((".json", ".jsonl", ".parquet")) and not entry.name.startswith("."):
                stat = entry.stat()
                yield entry.path, stat.st_size, stat.st_mtime_ns


def _keep(path: Path, content: dict[str, Any]) -> None:
    try:
        write_atomically(path, json.dumps(content, allow_nan=False))
    except OSError:  # a cache on a mount that cannot be written: built again next time
        return
    kept = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)
    for old in kept[:-_KEPT]:
        old.unlink(missing_ok=True)
