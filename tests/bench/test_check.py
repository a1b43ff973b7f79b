"""The guard: green on a healthy tree, red when something is broken on purpose."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from bench import check, check_report, records
from bench.cli.check import check as command
from protocols.errors import DataError, UserError
from protocols.progress import Quiet

REPOSITORY = Path(__file__).parents[2]
BASELINE = REPOSITORY / "results" / "baselines" / "demo.json"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def baseline(cache, tmp_path_factory):
    """The committed baseline with the fingerprints of this machine: features differ by last bits between processors."""
    path = tmp_path_factory.mktemp("baseline") / "demo.json"
    shutil.copy(BASELINE, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "SEEDS", check.SEEDS[:2])
        patch.setattr(check, "THREADS", (1,))
        check.update(path, cache, Quiet(), "a test", "fingerprints of this machine")
    content, here = json.loads(BASELINE.read_text()), json.loads(path.read_text())
    for cell, local in zip(content["cells"], here["cells"], strict=True):
        cell["fingerprints"] = local["fingerprints"]
    path.write_text(json.dumps(content))
    return path


def run_check(cache, tree=REPOSITORY, baseline=BASELINE, threads=1):
    return subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", "check", "--baseline", str(baseline)],
        env={**os.environ, "PYTHONPATH": str(tree), "BENCH_CACHE": str(cache), "OMP_NUM_THREADS": str(threads)},
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
def test_check_passes_twice_whatever_the_number_of_threads(cache):
    for threads in (1, 2):
        done = run_check(cache, threads=threads)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "8 of 8 numbers within tolerance" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "right", "wrong", "stage"),
    [
        pytest.param(
            "recommenders/encoder/item_encoder.py",
            "return self.fusion(ids, content)",
            "return self.fusion(ids, None if content is None else content.roll(1, 0))",
            "model",
            id="fusion",
        ),
        pytest.param(
            "protocols/splitting/rolling.py",
            "stop = (last // DAY + 1) * DAY",
            "stop = (last // DAY - 1) * DAY",
            "split",
            id="split",
        ),
        pytest.param(
            "feature_extractors/options.py",
            "return self.encode(stage_inputs(self.texts(source, context)), self.noun, context)",
            "made = self.texts(source, context)\n"
            "        made = replace(made, values=made.values[::-1])\n"
            "        return self.encode(stage_inputs(made), self.noun, context)",
            "features",
            id="captioner",
        ),
    ],
)
def test_check_turns_red_when_something_is_broken(cache, baseline, broken, file, right, wrong, stage):
    done = run_check(cache, broken(file, right, wrong), baseline)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "OFF" in done.stdout
    named = done.stdout.split(" changed:\n  ")[1:]
    assert named
    assert all(said.startswith(f"{stage}: ") for said in named)
    assert "users of a fold differ" in done.stdout


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


KNOWN = {"dataset": "d", "split": ["a", "b"], "features": ["f", "g"], "packages": {"torch": "2.0"}}
SAME = {"dataset": "d", "split": ["a", "b"], "features": "g", "packages": {"torch": "2.0"}}


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({}, "model: data, split and features are the baseline's"),
        ({"features": "other"}, "features: another fingerprint"),
        ({"split": ["a", "c"], "features": "other"}, "split: another fingerprint in fold(s) 1"),
        ({"dataset": "e", "split": ["x", "y"]}, "dataset: another fingerprint"),
    ],
)
def test_the_first_stage_that_differs_is_named_first(change, first):
    assert check_report.changed(KNOWN, SAME | change)[0].startswith(first)


def test_packages_of_other_versions_are_named_beside_the_stage():
    assert check_report.changed(KNOWN, SAME | {"packages": {"torch": "2.1"}})[-1] == "package torch: 2.0 then, 2.1 now"
    assert "keeps no fingerprints" in check_report.changed({}, SAME)[0]


def test_fingerprints_are_what_records_hold(write_cell):
    paths = write_cell("sasrec", "captions", "gate", features={"digest": "f"}, dataset={"fingerprint": "d"})
    found = check_report.fingerprints([records.read(path) for path in paths])
    assert (found["dataset"], found["features"], len(found["split"])) == ("d", "f", 2)


def test_the_first_users_who_differ_are_named_with_both_values():
    then = pd.DataFrame({"fold": 0, "user_id": ["a", "b", "c"], "ndcg@10": [0.1, 0.2, 0.3]})
    lines = check_report.first_users(then, then.assign(**{"ndcg@10": [0.1, 0.2, 0.5]}))
    assert lines[0].startswith("nDCG@10 +0.0667")
    assert lines[1:] == ["1 of 3 users of a fold differ", "fold 0 user c: 0.3000 then, 0.5000 now"]
    gone = check_report.first_users(then, then[:2])
    assert gone == ["1 of 3 users of a fold differ", "fold 0 user c: 0.3000 then, not ranked now"]
    assert "0 of 3" in check_report.first_users(then, then)[1]


def test_junit_and_step_summary_hold_every_number_and_hostile_names_stay_text(tmp_path):
    name = "x <b>|\x00"
    differences = [check.Difference(name, "ndcg@10", 0.2, 0.1, 0.01), check.Difference(name, "users", 5, 5, 0)]
    why = {name: ["model: <changed>"]}
    check_report.junit(tmp_path / "out" / "j.xml", differences, why)
    suite = ET.parse(tmp_path / "out" / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert suite.find("testcase/failure").text == "model: <changed>"
    check_report.summary(tmp_path / "s.md", differences, why)
    check_report.summary(tmp_path / "s.md", differences, why)
    text = (tmp_path / "s.md").read_text()
    assert text.count("**OFF**") == 2
    assert "<b>" not in text


def test_a_baseline_is_not_updated_without_a_reason(tmp_path):
    done = CliRunner().invoke(command, ["--baseline", str(tmp_path / "b.json"), "--update", "--reason", " "])
    assert isinstance(done.exception, UserError)


def test_the_action_passes_inputs_by_environment_and_offers_only_options_that_exist():
    steps = yaml.safe_load((REPOSITORY / ".github/actions/check/action.yml").read_text())["runs"]["steps"]
    scripts = " ".join(step.get("run", "") for step in steps)
    assert "${{" not in scripts  # an input in a script would be run as one
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z]+", scripts.split("/bin/bench")[1])) <= options


def test_a_baseline_without_numbers_says_how_they_are_measured_before_anything_is_run(bench, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"request": {"dataset": "demo", "rows": [{"model": "pop", "extractor": "-", "fusion": "-"}]}}')
    done = bench("check", "--baseline", file, env={"BENCH_CACHE": str(tmp_path / "cache")})
    assert done.exit_code == 2
    assert "guards no numbers yet" in done.stderr
    assert f"bench check --baseline {file} --update --reason" in done.stderr


def test_the_documented_commands_guard_a_row_of_one_s_own(tmp_path, bench, monkeypatch):
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    start, update, again = re.search(
        r"    (echo '.*mine\.json)\n    (bench check .*)\n    (bench check .*)\n", text
    ).groups()
    monkeypatch.chdir(tmp_path)
    subprocess.run(start, shell=True, check=True)
    cache = ("--cache", tmp_path / "cache", "--jobs", "1")
    refused = bench(*shlex.split(again)[1:], *cache)
    assert refused.exit_code == 2 and "guards no numbers yet" in refused.stderr
    assert "bench check --baseline mine.json --update --reason" in refused.stderr
    assert bench(*shlex.split(update)[1:], *cache).exit_code == 0
    held = bench(*shlex.split(again)[1:], *cache)
    assert held.exit_code == 0 and "4 of 4 numbers within tolerance" in held.stdout
