"""Seconds and peak memory of every step on a large simulated log: prepare, audit, pop, itemknn, sasrec.

    python tests/speed/large_log.py [--rows 10000000] [--users 1000000] [--items 200000] [--steps prepare,audit]

A log (Zipf-like items, log-normal activity, 180 days, release times) is written as parquet into a temporary folder, or
into --folder, where it stays. Each step is a `bench` command in a process of its own: `prepare` reads the files and
keeps them under a name, `audit` and the models read what was kept. `sasrec` is trained for one epoch with the default
loss. Peak memory is that of all processes of the step together (proportional set size, read twice a second).
Ends with lines `STEP: X s, peak Y MB (CPU Z s, load L)`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

DAY, DAYS = 86_400_000, 180
BEGIN = 1_700_006_400_000  # 2023-11-15, midnight UTC
STEPS = {
    "prepare": [
        *("data", "prepare", "files", "--name", "large"),
        *("--interactions", "log.parquet", "--items", "items.parquet"),
    ],
    "audit": ["data", "audit", "--dataset", "large"],
    "pop": ["run", "--dataset", "large", "--model", "pop", "--no-controls"],
    "itemknn": ["run", "--dataset", "large", "--model", "itemknn", "--no-controls", "--rank-users", "50000"],
    "sasrec": [
        *("run", "--dataset", "large", "--extractor", "id", "--model", "sasrec", "--no-controls"),
        *("--set", "protocol.folds=1", "--set", "sasrec.max_epochs=1", "--rank-users", "50000"),
    ],
}  # fmt: skip


def write(folder: Path, rows: int, users: int, items: int) -> None:
    """Write a log of about that many rows, every user and item in it at least once, and the items."""
    rng = np.random.default_rng(0)
    release = np.sort(rng.integers(-60 * DAY, DAYS * DAY, items)).clip(0)
    rng.shuffle(release)
    activity = rng.lognormal(0.0, 1.0, users)
    user = np.searchsorted(np.cumsum(activity) / activity.sum(), rng.random(rows)).clip(max=users - 1)
    user[:users] = np.arange(users)
    item = np.minimum(items * rng.random(rows) ** 3, items - 1).astype(np.int64)
    item[:items] = np.arange(items)
    when = release[item] + rng.random(rows) * (DAYS * DAY - release[item])
    names = {kind: np.char.add(kind, np.char.zfill(np.arange(n).astype(str), 8)) for kind, n in
             (("u", users), ("i", items))}  # fmt: skip
    log = {
        "user_id": pa.DictionaryArray.from_arrays(pa.array(user, pa.int32()), names["u"]),
        "item_id": pa.DictionaryArray.from_arrays(pa.array(item, pa.int32()), names["i"]),
        "timestamp": pa.array(BEGIN + when.astype(np.int64)),
    }
    for name in ("user_id", "item_id"):
        log[name] = log[name].cast(pa.string())
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(log), folder / "log.parquet")
    pq.write_table(pa.table({"item_id": names["i"], "release": BEGIN + release}), folder / "items.parquet")


def memory_mb(process: psutil.Process) -> float:
    """Proportional set size of a process and all below it; pages that they share count once."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss / 1024**2
        except psutil.Error:  # it has just ended
            continue
    return total


def step(name: str, folder: Path) -> str:
    """Run one step; return its line."""
    command = [sys.executable, "-c", "from bench.cli import main; main()", *STEPS[name]]
    places = {"BENCH_CACHE": str(folder / "cache"), "BENCH_RESULTS": str(folder / "results")}
    began, peak = time.perf_counter(), 0.0
    with (folder / f"{name}.txt").open("w") as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **places}, stdout=output, stderr=subprocess.STDOUT
        )
        seen = psutil.Process(running.pid)
        while running.poll() is None:
            try:
                peak = max(peak, memory_mb(seen))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.5)
    state = "" if running.wait() == 0 else f", FAILED with {running.returncode}: see {folder / name}.txt"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{name}: {time.perf_counter() - began:.0f} s, peak {peak:.0f} MB{state} (CPU {cpu:.0f} s"


def main() -> None:
    """Write the log, run the steps, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "log.parquet").exists():
            write(folder, options.rows, options.users, options.items)
        for name in options.steps.split(","):
            print(f"{step(name, folder)}, load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
