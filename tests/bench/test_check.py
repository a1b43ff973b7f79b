"""The guard: green on a healthy tree, red when something is broken on purpose."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import check
from protocols.errors import DataError

REPOSITORY = Path(__file__).parents[2]
BASELINE = REPOSITORY / "results" / "baselines" / "demo.json"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("check")


def run_check(cache, tree=REPOSITORY, baseline=BASELINE):
    return subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", "check", "--baseline", str(baseline)],
        env={**os.environ, "PYTHONPATH": str(tree), "BENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def broken(tmp_path):
    """A function that copies the packages and replaces one line in one file."""

    def make(file, right, wrong):
        for package in ("bench", "feature_extractors", "recommenders", "protocols"):
            shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        path = tmp_path / file
        text = path.read_text()
        assert text.count(right) == 1, f"{file} no longer holds {right!r}"
        path.write_text(text.replace(right, wrong))
        return tmp_path

    return make


def test_baseline_says_how_it_was_made():
    content = json.loads(BASELINE.read_text())
    assert content["command"] == "bench check --baseline results/baselines/demo.json --update"
    assert content["measured_over"] == {"seeds": [1, 2, 3, 4, 5], "threads": [1, 2], "tolerance_in_sd": 3.0}
    for cell in content["cells"]:
        for value in cell["metrics"].values():
            assert value["tolerance"] == pytest.approx(3 * value["sd"])
            assert 0 < value["tolerance"] < value["mean"]


@pytest.mark.slow
def test_check_passes_twice(cache):
    for _ in range(2):
        done = run_check(cache)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "8 of 8 numbers within tolerance" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        pytest.param(
            "recommenders/item_encoder.py",
            "return self.fusion(ids, content)",
            "return self.fusion(ids, None if content is None else content.roll(1, 0))",
            id="fusion",
        ),
        pytest.param(
            "protocols/splits.py", "stop = (last // DAY + 1) * DAY", "stop = (last // DAY - 1) * DAY", id="split"
        ),
        pytest.param(
            "feature_extractors/captions.py",
            "return run_stage(stage, video_inputs(source, context), context)",
            "made = run_stage(stage, video_inputs(source, context), context)\n"
            "        return replace(made, values=made.values[::-1])",
            id="captioner",
        ),
    ],
)
def test_check_turns_red_when_something_is_broken(cache, broken, file, right, wrong):
    done = run_check(cache, broken(file, right, wrong))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "OFF" in done.stdout


def test_a_difference_counts_in_both_directions():
    assert check.Difference("x", "ndcg@10", 0.2, 0.21, 0.02).ok
    assert not check.Difference("x", "ndcg@10", 0.2, 0.23, 0.02).ok
    assert not check.Difference("x", "ndcg@10", 0.2, 0.17, 0.02).ok
    assert not check.Difference("x", "users", 100, 101, 0).ok


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"request": {}}', '{"request": {"rows": []}}'])
def test_what_is_no_baseline_is_refused_by_name(tmp_path, content):
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"baseline\.json"):
        check.read(path)
