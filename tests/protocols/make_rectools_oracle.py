"""Write the rows that RecTools' TimeRangeSplitter puts into its test windows, for small synthetic logs.

RecTools needs numpy < 2 and cannot share the environment:

    uv run --isolated --no-project --with rectools python tests/protocols/make_rectools_oracle.py
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.dataset import Interactions
from rectools.model_selection import TimeRangeSplitter

DAY = 86_400
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


def rows_of_windows(frame: pd.DataFrame, size: str, folds: int, filters: bool) -> list[list[int]]:
    """Sorted row numbers of every test window, the earliest first."""
    interactions = Interactions(
        pd.DataFrame(
            {
                Columns.User: frame["user"],
                Columns.Item: frame["item"],
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(START + frame["second"], unit="s"),
            }
        )
    )
    splitter = TimeRangeSplitter(
        size, n_splits=folds, filter_cold_users=filters, filter_cold_items=False, filter_already_seen=filters
    )
    return [sorted(map(int, test)) for _, test, _ in splitter.split(interactions)]


def main() -> None:
    """Write `rectools_oracle.json` beside this script."""
    cases = []
    for number in range(24):
        frame = make_log(number)
        size, folds = ("7D", 3) if number % 2 else ("1D", 5)
        cases.append(
            {
                "window": size.lower(),
                "folds": folds,
                "user": frame["user"].tolist(),
                "item": frame["item"].tolist(),
                "second": frame["second"].tolist(),
                "all": rows_of_windows(frame, size, folds, filters=False),
                "filtered": rows_of_windows(frame, size, folds, filters=True),
            }
        )
    path = Path(__file__).parent / "rectools_oracle.json"
    path.write_text(json.dumps({"start": START, "cases": cases}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} logs, {sum(len(c['user']) for c in cases)} rows -> {path.name}")


if __name__ == "__main__":
    main()
