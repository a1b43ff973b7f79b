"""One grid computed by several processes that share a results folder, some of which are killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

GRID = """
dataset: ml-100k
seeds: 4
set: {protocol: {folds: 2}, bpr: {max_epochs: 4, min_epochs: 2, patience_steps: 1, dim: 8}}
rows: [{model: pop}, {model: itemknn}, {model: bpr}]
"""


def start(folder, cache, *words):
    environment = {**os.environ, "BENCH_CACHE": str(cache), "BENCH_RESULTS": str(folder), "OMP_NUM_THREADS": "1"}
    call = [
        sys.executable,
        "-c",
        "from bench.cli import main; main()",
        "grid",
        str(folder.parent / "grid.yaml"),
        *words,
    ]
    return subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def numbers(folder):
    found = {}
    for path in folder.rglob("s[0-9]*-f*.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "ok", record["error"]
        key = (record["cell"]["model"], record["seed"], record["fold"])
        assert key not in found
        found[key] = (path.name, record["metrics"], record["users_digest"])
    return found


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_four_workers_of_which_two_are_killed_make_every_record_once(tmp_path):
    (tmp_path / "grid.yaml").write_text(GRID)
    alone = start(tmp_path / "alone", tmp_path / "cache", "--jobs", "1", "--json")
    assert alone.wait(600) == 0, alone.stderr.read()

    shared = tmp_path / "shared"
    workers = [start(shared, tmp_path / "cache", "--worker", "--jobs", "1") for _ in range(4)]
    limit = time.monotonic() + 300
    while not list(shared.rglob("*.claim")) and time.monotonic() < limit:
        time.sleep(0.02)
    for one in workers[:2]:
        os.kill(one.pid, signal.SIGKILL)
    for one in workers[2:]:
        words, errors = one.communicate(timeout=600)
        assert one.returncode == 0, errors
        assert words.startswith("12 results, 0 failed")
    assert numbers(shared) == numbers(tmp_path / "alone") and len(numbers(shared)) == 12
    for one in workers[:2]:
        one.communicate(timeout=60)
