"""`bench leaderboard` over ten thousand records: the first call, one after a change, and the next.

    python tests/speed/leaderboard.py [--records 10000] [--users 200] [--rows 20]

Synthetic records (boards of so many rows, three seeds, four folds) are written to a temporary folder; then
the command runs in processes of its own. The first call tests every row; the last one finds all boards in the cache.
Ends with lines `NAME: X`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from bench import records

SEEDS, FOLDS = (1, 2, 3), 4


def write(folder: Path, count: int, users: int, rows: int, first: int = 0) -> int:
    """Write about that many records, of boards numbered from `first`; return the exact number."""
    rng = np.random.default_rng(0)
    written = 0
    for board in range(first, first + max(1, round(count / (rows * len(SEEDS) * FOLDS)))):
        for row in range(rows):
            extractor = "id" if row == 0 else f"extractor{row}"
            cell = records.Cell("toy", "rolling-7d", "sasrec", extractor, "gate", {"dataset": {"board": board}})
            for seed in SEEDS:
                for fold in range(FOLDS):
                    value = rng.uniform(0, 0.5, users)
                    frame = pd.DataFrame({"user_id": [f"u{i}" for i in range(users)], "hr@10": value, "ndcg@10": value})
                    frame["ndcg@10_warm"], frame["ndcg@10_cold"] = value, np.nan
                    info = {"folds": FOLDS, "users": users}
                    record = records.Record(asdict(cell), f"k{seed}{fold}", seed, fold, f"board{board}", fold_info=info)
                    records.write(folder / cell.folder, record, frame)
                    written += 1
    return written


def timed(results: Path, cache: Path) -> str:
    """Measure wall and processor seconds of one call of the command."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "from bench.cli import main; main()", "leaderboard"]
    command += ["--results", str(results), "--cache", str(cache)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{wall:.2f} (processor {used:.2f})"


def main() -> None:
    """Write, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--rows", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results, cache = Path(scratch) / "results", Path(scratch) / "cache"
        print(f"records: {write(results, options.records, options.users, options.rows)}")
        print(f"first call, s: {timed(results, cache)}")
        write(results, 1, options.users, 1, first=1_000_000)
        print(f"after one more board, s: {timed(results, cache)}")
        print(f"next call, s: {timed(results, cache)}")


if __name__ == "__main__":
    main()
