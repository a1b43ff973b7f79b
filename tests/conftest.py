"""Settings of all tests, and the small logs that those of splits, rankings, audits and runs share."""

import ctypes
import os
import signal
import sys
import time
from contextlib import contextmanager, nullcontext

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers of two threads each wait for one another on two cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `bench` does

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from protocols.dataset import Dataset

DAY = 86_400_000

# A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that: tests that send SIGINT
# would then test nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine may pause any example for longer than hypothesis allows one.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def build(rows, items=None, release=None):
    """Dataset of (user, item, milliseconds) rows; `items` beyond those of the log, `release` by item."""
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    ids = sorted({str(i) for i in log["item_id"]} | set(items or ()))
    frame = pd.DataFrame(index=ids)
    if release is not None:
        frame["release"] = [int(release[i]) for i in ids]
    return Dataset.build("tiny", "1", log, frame)


def simulate(seed=0, users=60, items=40, rows=1500, days=50, releases=True):
    """Random log in which items are released over time and popular ones are taken more often."""
    rng = np.random.default_rng(seed)
    release = np.sort(rng.integers(-10 * DAY, days * DAY, items))
    release[: items // 4] = 0
    taste = rng.random(items) ** 3
    out = []
    for moment in np.sort(rng.integers(0, days * DAY, rows)):
        weight = taste * (release <= moment)
        out.append((f"u{rng.integers(users):03d}", f"i{rng.choice(items, p=weight / weight.sum()):03d}", int(moment)))
    by_item = {f"i{i:03d}": release[i] for i in range(items)}
    return build(out, items=by_item, release=by_item if releases else None)


class Spoken:
    """A progress display that remembers what it was told."""

    def __init__(self):
        self.lines, self.tasks, self.notes, self.steps = [], [], [], 0

    def task(self, title, total=None):
        self.tasks.append((title, total))
        return nullcontext(self)

    def advance(self, steps=1, note=""):
        self.steps += steps
        self.notes.append(note)

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def spoken():
    return Spoken()


@pytest.fixture(scope="session")
def wait_until():
    """A function that waits until something holds, or so many seconds; what then holds is the test's to check."""

    def wait(holds, seconds):
        until = time.monotonic() + seconds
        while not holds() and time.monotonic() < until:
            time.sleep(0.01)

    return wait


@contextmanager
def unprivileged():
    """Let root obey the permissions of files, as everybody does, until the block ends (Linux)."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    before, override = sets[0], 1 << 1  # CAP_DAC_OVERRIDE in the effective set
    sets[0] = before & ~override
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@pytest.fixture
def read_only():
    """A function that makes folders read-only until its block ends; nothing in them may have changed then."""

    def content(folders):
        found = sorted(path for folder in folders for path in [folder, *folder.rglob("*")])
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    @contextmanager
    def read_only(*folders):
        before = content(folders)
        for path in before:
            path.chmod(path.stat().st_mode & ~0o222)
        try:
            with unprivileged():
                with pytest.raises(PermissionError):
                    (folders[0] / "new").touch()
                yield
            assert content(folders) == before
        finally:
            for path in before:
                path.chmod(path.stat().st_mode | 0o200)

    return read_only


@pytest.fixture(scope="session")
def build_dataset():
    return build


@pytest.fixture(scope="session")
def simulate_dataset():
    return simulate


@pytest.fixture(scope="session")
def simulated():
    return simulate()


@pytest.fixture(scope="session")
def do_without():
    """A function that skips the test for want of a tool; it fails it where BENCH_REQUIRE (latex,browser) names that."""

    def give_up(tool, why):
        if tool in os.environ.get("BENCH_REQUIRE", "").split(","):
            pytest.fail(f"BENCH_REQUIRE names {tool!r}, but {why}")
        pytest.skip(why)

    return give_up
