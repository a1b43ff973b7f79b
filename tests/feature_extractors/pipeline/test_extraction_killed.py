"""SIGKILL at any moment, and two runs at once: the features are those of one quiet run."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import hashlib, sys, time
import lance  # takes longer than all the work: kills shall not fall into it
import numpy as np
from feature_extractors.store import lance
from feature_extractors.base import ExtractContext
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Stage, stage_inputs, text_inputs
from protocols.features import FeatureSpace

lance.COMMIT_ROWS = 12
COUNT, BATCH = 120, 5

def upper(texts):
    print("call", flush=True)
    time.sleep(0.01)
    return [f"{text} of {len(texts)} with {hashlib.md5(repr(texts).encode()).hexdigest()}" for text in texts]

def vectors(texts):
    print("call", flush=True)
    time.sleep(0.01)
    key = hashlib.sha256(repr(texts).encode()).digest()
    return np.stack([np.frombuffer(hashlib.sha256(key + t.encode()).digest(), np.uint8) for t in texts]).astype("f4")

def main(root):
    ids = [f"i{k:04d}" for k in range(COUNT)]
    titles = [None if k % 17 == 3 else f"title {k}" for k in range(COUNT)]
    context = ExtractContext(root)
    text, vector = FeatureSpace("kill.text", 1, "text", {}), FeatureSpace("kill.vector", 1, "vector", {})
    words = run_stage(Stage(text, "text", BATCH, lambda: upper), text_inputs(ids, titles, "title"), context)
    found = run_stage(Stage(vector, "vector", BATCH, lambda: vectors), stage_inputs(words), context)
    print("done", words.digest, found.digest, flush=True)

main(sys.argv[1])
"""


def start(root):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(root)], stdout=subprocess.PIPE, text=True)


def finish(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split("done")[1].split()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Digests of what an undisturbed run makes."""
    return finish(start(tmp_path_factory.mktemp("quiet")))


def rows(root):
    import lance

    # a kill within the first commit leaves a folder without a version
    there = [folder for folder in root.glob("*.lance") if list((folder / "_versions").glob("*.manifest"))]
    return sum(lance.dataset(folder).count_rows() for folder in there)


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_the_features_are_the_same(tmp_path, quiet, kills, wait_until):
    rng, stores = random.Random(kills), kills // 4
    finished, left = 0, []
    for attempt in range(kills):
        # Every try begins where an earlier one was killed, and ends some calls of a model later.
        root = tmp_path / f"kill{attempt % stores}"
        process = start(root)
        said = [process.stdout.readline() for _ in range(rng.randint(4, 9))]
        if attempt // stores % 2:  # on a busy machine the writer may be far behind the model
            before = left[-stores]
            wait_until(lambda: rows(root) > before or process.poll() is not None, 60)  # noqa: B023
        time.sleep(rng.uniform(0, 0.01))
        finished += any(not line.startswith("call") for line in said)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        left.append(rows(root))
    # The kills fell into the work: more rows were there each time, and seldom all of them.
    assert finished <= kills // 3
    assert len({count for count in left if 0 < count < 240}) >= 2
    for part in range(stores):
        assert finish(start(tmp_path / f"kill{part}")) == quiet


def test_two_runs_at_once_compute_every_item_once(tmp_path, quiet):
    import lance

    runs = [start(tmp_path), start(tmp_path)]
    assert [finish(run) for run in runs] == [quiet] * 2
    for folder in tmp_path.glob("*.lance"):
        ids = lance.dataset(folder).to_table(columns=["item_id"])["item_id"].to_pylist()
        assert len(ids) == len(set(ids)) == 120
