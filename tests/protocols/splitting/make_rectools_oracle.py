"""Write the rows that RecTools' TimeRangeSplitter puts into its test windows, for small synthetic logs.

RecTools needs numpy < 2 and cannot share the environment:

    uv run --isolated --no-project --with rectools python tests/protocols/splitting/make_rectools_oracle.py [LOG.csv]

With a log (columns user, item, second) it prints the windows of that one instead.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.dataset import Interactions
from rectools.model_selection import TimeRangeSplitter

DAY = 86_400
WINDOWS = {"7D": 3, "1D": 5}  # folds
START = 1_599_955_200  # midnight UTC, so that whole-day times fall exactly on borders


def make_log(number: int) -> pd.DataFrame:
    """Rows in random order, no exact duplicates; every third log has only whole-day times, so ties everywhere."""
    rng = np.random.default_rng(number)
    rows, days = int(rng.integers(40, 120)), int(rng.integers(30, 60))
    step = DAY if number % 3 == 0 else 1
    frame = pd.DataFrame(
        {
            "user": rng.integers(0, 8, rows),
            "item": rng.integers(0, 12, rows),
            "second": rng.integers(0, days * DAY, rows) // step * step,
        }
    )
    return frame.drop_duplicates().reset_index(drop=True)


def rows_of_windows(frame: pd.DataFrame, size: str, folds: int, filters: bool, start: int) -> list[list[int]]:
    """Sorted row numbers of every test window, the earliest first."""
    interactions = Interactions(
        pd.DataFrame(
            {
                Columns.User: frame["user"],
                Columns.Item: frame["item"],
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(start + frame["second"], unit="s"),
            }
        )
    )
    splitter = TimeRangeSplitter(
        size, n_splits=folds, filter_cold_users=filters, filter_cold_items=False, filter_already_seen=filters
    )
    return [sorted(map(int, test)) for _, test, _ in splitter.split(interactions)]


def windows(frame: pd.DataFrame, start: int) -> dict[str, dict[str, list[list[int]]]]:
    """Rows of all windows of both sizes, unfiltered and filtered."""
    return {
        size.lower(): {
            name: rows_of_windows(frame, size, folds, filters, start)
            for name, filters in (("all", False), ("filtered", True))
        }
        for size, folds in WINDOWS.items()
    }


def main() -> None:
    """Write `rectools_oracle.json` beside this script, or print the windows of a given log."""
    if len(sys.argv) > 1:
        print(json.dumps(windows(pd.read_csv(sys.argv[1]), start=0)))
        return
    cases = []
    for number in range(50):
        frame = make_log(number)
        cases.append({name: frame[name].tolist() for name in ("user", "item", "second")} | windows(frame, START))
    path = Path(__file__).parent / "rectools_oracle.json"
    path.write_text(json.dumps({"start": START, "cases": cases}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} logs, {sum(len(c['user']) for c in cases)} rows -> {path.name}")


if __name__ == "__main__":
    main()
