"""Values of single users of a board, packed for its page: rows are compared user by user in the browser."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench import board_files, records
from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY
from protocols.errors import DataError

#: Steps between 0 and 1; the next number says that there is no value.
STEPS = 10_000
ABSENT = 65_535


def packed(runs: Sequence[CellResults]) -> dict[str, Any]:
    """Pack nDCG@10 of all users of a board, the mean over seeds.

    Returns
    -------
    dict
        JSON-able: `users` and `folds` of the pairs that have a value, `steps`, and `cells`: by cell id the values as
        base64 of little-endian 16-bit numbers, in `steps`; 65535 where there is none.

    Raises
    ------
    DataError
        If a per-user file cannot be read.
    """
    if not runs:
        return {"users": [], "folds": [], "steps": STEPS, "cells": {}}
    whole = pl.concat(_frame(file, found) for file, found in _by_file(runs).items())
    frame = whole.group_by("cell", "fold", "user_id").agg(pl.col(PRIMARY).mean())
    pairs = frame.select("fold", "user_id").unique().sort("fold", "user_id").with_row_index("at")
    placed = frame.join(pairs, on=["fold", "user_id"])
    cells = {}
    for (cell,), mine in sorted(placed.partition_by("cell", as_dict=True).items(), key=lambda one: str(one[0])):
        values = np.full(len(pairs), ABSENT, dtype="<u2")
        numbers = mine[PRIMARY].to_numpy()
        known = np.isfinite(numbers)
        # the last bits of a mean depend on the order of its sum: a tie must not
        values[mine["at"].to_numpy()[known]] = np.rint(numbers[known] * STEPS + 1e-6)
        cells[str(cell)] = base64.b64encode(values.tobytes()).decode("ascii")
    return {"users": pairs["user_id"].to_list(), "folds": pairs["fold"].to_list(), "steps": STEPS, "cells": cells}


def _by_file(runs: Iterable[CellResults]) -> dict[Path, dict[str, tuple[str, int]]]:
    """Cell id and fold of records, by their names, by file of users."""
    found: dict[Path, dict[str, tuple[str, int]]] = {}
    for run in runs:
        for path, record in run.found.items():
            entry = f"{path.parent.name}/{path.stem}"
            found.setdefault(records.frame_of(path), {})[entry] = run.cell.id, record.fold
    return found


def _frame(file: Path, found: dict[str, tuple[str, int]]) -> pl.DataFrame:
    """Read [cell, fold, user_id, ndcg@10] of some records, whose users a file holds."""
    try:
        if file.name != board_files.USERS:
            ((cell, fold),) = found.values()
            frame = pl.read_parquet(file, columns=["user_id", PRIMARY], glob=False)
            frame = frame.with_columns(pl.lit(cell).alias("cell"), pl.lit(fold, pl.Int64).alias("fold"))
        else:
            whole = pl.read_parquet(file, columns=["cell", "record", "user_id", PRIMARY], glob=False)
            entries = [(*name.split("/"), *place) for name, place in found.items()]
            names = pl.DataFrame(entries, schema=["folder", "record", "cell", "fold"], orient="row")
            whole = whole.rename({"cell": "folder"})
            frame = whole.join(names, on=["folder", "record"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file}: {error}", remedy="delete the record beside it, and run the row again") from error
    return frame.select("cell", "fold", pl.col("user_id").cast(pl.String), pl.col(PRIMARY).cast(pl.Float64))
