"""Splitting and auditing a log of ten million interactions, and metrics and statistics of 100,000 users.

    python tests/speed/split.py [--rows 10000000] [--users 200000] [--items 50000] [--ranked 100000]

1. A synthetic `Dataset` is made (its cost is printed separately and is no part of the figure), then indexed, split into
   the four folds of `rolling-7d`, and both problems of every fold are built and audited.
2. Four folds of ranks for the same users are drawn, for two rows of a board; then per-user metrics, the interval of
   each row and the comparison of the two are computed.

Each part runs in a process of its own, so that its peak memory is its own. Ends with lines `NAME: X`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from protocols.audit.leak_audit import audit
from protocols.audit.log_facts import LogFacts
from protocols.dataset import Dataset
from protocols.evaluation import metrics, statistics
from protocols.evaluation.fold_metrics import means, user_metrics
from protocols.evaluation.ranking import Ranking
from protocols.splitting.presets import Rolling7d
from protocols.splitting.rolling import DAY

FOLDS = 4
DAYS = 180


class Clock:
    """Wall and CPU seconds by stage."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu

    def table(self) -> str:
        """All stages and their sum."""
        rows = [[name, f"{self.wall[name]:.1f}", f"{self.cpu[name]:.1f}"] for name in self.wall]
        rows.append(["sum", f"{sum(self.wall.values()):.1f}", f"{sum(self.cpu.values()):.1f}"])
        return tabulate(rows, ["stage", "wall s", "CPU s"], tablefmt="github", disable_numparse=True)


def resident_gb(peak: bool) -> float:
    """Measure resident memory of this process in GB, current or peak."""
    name = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024**2


def synthetic(rows: int, users: int, items: int, seed: int = 0) -> Dataset:
    """A canonical dataset of exactly `rows` events: Zipf-like items, log-normal activity, releases over the period."""
    rng = np.random.default_rng(seed)
    time_ = np.sort(rng.integers(0, DAYS * DAY, rows))
    activity = rng.lognormal(0.0, 1.0, users)
    user = np.searchsorted(np.cumsum(activity) / activity.sum(), rng.random(rows)).clip(max=users - 1)
    item = np.minimum(items * rng.random(rows) ** 3, items - 1).astype(np.int64)
    width = len(str(max(users, items)))
    names = {kind: np.array([f"{kind}{i:0{width}d}" for i in range(n)], dtype=object) for kind, n in
             (("u", users), ("i", items))}  # fmt: skip
    log = pd.DataFrame({"user_id": names["u"][user], "item_id": names["i"][item], "timestamp": time_})
    del user, item
    frame = pd.DataFrame({"release": rng.integers(0, DAYS * DAY, items)}, index=pd.Index(names["i"]))
    return Dataset.build("synthetic", str(seed), log, frame)


def split(rows: int, users: int, items: int) -> None:
    """Run and print part 1."""
    clock = Clock()
    with clock.stage("(synthetic dataset)"):
        dataset = synthetic(rows, users, items)
    print(
        f"synthetic dataset of {len(dataset.interactions)} rows: {clock.wall.pop('(synthetic dataset)'):.1f} s wall, "
        f"{clock.cpu.pop('(synthetic dataset)'):.1f} s CPU, {resident_gb(peak=False):.2f} GB resident, "
        f"{resident_gb(peak=True):.2f} GB at most while it was made"
    )
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew here
    protocol = Rolling7d()
    with clock.stage("index"):
        _ = dataset.indexed_log
    with clock.stage("fingerprint"):
        _ = dataset.fingerprint
    with clock.stage("split"):
        folds = protocol.split(dataset)
    with clock.stage("ledger of the audit"):
        LogFacts.of(dataset)
    ranked = []
    for fold in folds:
        for stage in ("validation", "test"):
            with clock.stage("problems"):
                problem = protocol.problem(dataset, fold, stage)
            with clock.stage("audits"):
                audit(dataset, fold, problem, stage)
            ranked.append(f"{len(problem.task.users)} users, {len(problem.training.user)} fitted rows")
    print(f"{len(folds)} folds, 2 problems each: {ranked[0]} in the first, {ranked[-1]} in the last")
    print(clock.table())
    print(f"split and audit, {rows} rows, wall s: {sum(clock.wall.values()):.1f}")
    print(f"split and audit, {rows} rows, CPU s: {sum(clock.cpu.values()):.1f}")
    print(f"split and audit, {rows} rows, peak GB: {resident_gb(peak=True):.2f}")


def ranks(users: int, fold: int, lift: float, items: int = 50_000) -> Ranking:
    """Draw a ranking: one to three targets a user, ranks that fall off like 1/rank."""
    rng = np.random.default_rng([fold, 7])
    target_user = np.repeat(np.arange(users), rng.integers(1, 4, users))
    n = len(target_user)
    rank = np.floor(np.exp(rng.random(n) * np.log(items) * (1 - lift))) + 1
    warm = rng.random(n) < 0.8
    return Ranking(
        users=np.array([f"u{u:06d}" for u in range(users)], dtype=object),
        items=np.arange(items).astype(str).astype(object),
        n_history=rng.integers(1, 100, users),
        candidates=np.ones(items, dtype=bool),
        target_user=target_user,
        target=rng.integers(0, items, n),
        target_warm=warm,
        rank=rank,
        rank_warm=np.where(warm, rank, np.inf),
        rank_cold=np.where(warm, np.inf, rank),
        top=rng.integers(0, items, (users, 20)),
        tied=np.zeros(users, dtype=bool),
    )


def judge(users: int) -> None:
    """Run and print part 2."""
    clock, frames = Clock(), []
    for lift in (0.01, 0.0):
        folds = []
        for fold in range(FOLDS):
            ranking = ranks(users, fold, lift)
            with clock.stage("metrics"):
                folds.append(user_metrics(ranking))
                means(folds[-1])
        tidy = [f[["user_id"]].assign(seed=1, fold=i, value=f[metrics.PRIMARY]) for i, f in enumerate(folds)]
        frames.append(pd.concat(tidy, ignore_index=True))
    with clock.stage("intervals"):
        for frame in frames:
            statistics.board_mean(frame)
            statistics.interval(frame)
    with clock.stage("comparison"):
        found = statistics.compare(*frames)
    print(f"two rows of {users} users x {FOLDS} folds: {found.effect:+.5f} [{found.low:+.5f}, {found.high:+.5f}]")
    print(clock.table())
    print(f"metrics and statistics, {users} users, wall s: {sum(clock.wall.values()):.1f}")
    print(f"metrics and statistics, {users} users, CPU s: {sum(clock.cpu.values()):.1f}")
    print(f"metrics and statistics, {users} users, peak GB: {resident_gb(peak=True):.2f}")


def main() -> None:
    """Run both parts, or the requested one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--ranked", type=int, default=100_000)
    parser.add_argument("--part", choices=["split", "judge"])
    given = parser.parse_args()
    if given.part == "split":
        split(given.rows, given.users, given.items)
    elif given.part == "judge":
        judge(given.ranked)
    else:
        for part in ("split", "judge"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--part", part], check=True)


if __name__ == "__main__":
    main()
