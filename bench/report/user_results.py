"""Results of one user, and the most recommended items, from a record's per-user file."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import records
from protocols.errors import DataError, UserError

REMEDY = "use the local records instead of a compact copy: --results results/local"


@dataclass(frozen=True)
class User:
    """Results of a user in a record.

    Attributes
    ----------
    metrics
        By name; None where undefined.
    history
        Events before the border; None where the record does not say.
    targets
        Raw id (None: no item of the problem), rank (0: it cannot be found), fitted events; None: the record holds none.
    top
        Raw ids, best first; None: the record holds none.
    """

    metrics: dict[str, float | None]
    history: int | None
    targets: list[tuple[str | None, int, int]] | None
    top: list[str] | None


def user(path: Path, name: str) -> User:
    """Read one user of the record at `path`.

    Raises
    ------
    UserError
        If the fold did not rank this user, with some whom it did.
    """
    frame = records.users(path)
    found = frame[frame["user_id"] == name]
    if found.empty:
        known = sorted(frame["user_id"].astype(str))
        near = difflib.get_close_matches(name, known, n=3) or known[:3]
        raise UserError(f"no user {name!r} was ranked in {path.stem}; there are for example {', '.join(near)}")
    row = found.iloc[0]
    metrics = {str(c): None if pd.isna(row[c]) else float(row[c]) for c in frame.columns if "@" in str(c)}
    targets = None
    if {"target", "target_rank", "target_events"} <= set(frame.columns):
        columns = (row["target"], row["target_rank"], row["target_events"])
        targets = [
            (None if item is None else str(item), int(rank), int(events))
            for item, rank, events in zip(*columns, strict=True)
        ]
    top = [str(item) for item in row["top"]] if "top" in frame else None
    history = int(row["n_history"]) if "n_history" in frame else None
    return User(metrics, history, targets, top)


def users_of(path: Path) -> set[Any]:
    """Return the raw ids of the users that a record ranked."""
    return set(records.users(path, ["user_id"])["user_id"])


def most_shown(path: Path, depth: int = 10) -> tuple[list[tuple[str, int]], int]:
    """Count in how many first tens each item is; most frequent first, and the number of lists.

    Raises
    ------
    DataError
        If the record holds no lists.
    """
    if "top" not in records.columns(path):
        raise DataError(f"{records.frame_of(path)} holds no top lists", remedy=REMEDY)
    lists = records.users(path, ["top"])["top"]
    times = Counter(str(item) for one in lists for item in one[:depth])
    return sorted(times.items(), key=lambda pair: (-pair[1], pair[0])), len(lists)


def require_targets(found: User, path: Path) -> list[tuple[str | None, int, int]]:
    """Return the targets of a user.

    Raises
    ------
    UserError
        If the record holds none.
    """
    if found.targets is None:
        raise UserError(f"{records.frame_of(path)} holds no ranks of targets", remedy=REMEDY)
    return found.targets
