"""Values of single users of a board, packed for its page: rows are compared user by user in the browser."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY

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
        If a per-user file cannot be read, or is another record's.
    """
    rows = {run.cell.id: run.values(PRIMARY) for run in sorted(runs, key=lambda run: run.cell.id)}
    keys = {cell: list(zip(row.fold.tolist(), row.user.tolist(), strict=True)) for cell, row in rows.items()}
    pairs = sorted(set().union(*keys.values()))
    places = {pair: at for at, pair in enumerate(pairs)}
    cells = {}
    for cell, row in rows.items():
        values = np.full(len(pairs), ABSENT, dtype="<u2")
        numbers = row.values.mean(axis=0)
        known = np.isfinite(numbers)
        # the last bits of a mean depend on the order of its sum: a tie must not
        values[np.array([places[pair] for pair in keys[cell]])[known]] = np.rint(numbers[known] * STEPS + 1e-6)
        cells[cell] = base64.b64encode(values.tobytes()).decode("ascii")
    folds, users = zip(*pairs, strict=True) if pairs else ((), ())
    return {"users": list(users), "folds": list(folds), "steps": STEPS, "cells": cells}
