"""The main job through the command line, on a small world: from clips to a board, disturbed and undisturbed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from bench import records
from bench.boards import board_json
from bench.runs.rows import CONTROLS

SMALL = ["demo.clips=40", "demo.users=60", "demo.interactions=900"]
QUICK = ["sasrec.dim=16", "sasrec.max_epochs=3"]


def with_sets(*words, sets=(*SMALL, *QUICK)):
    return [*words, *(word for text in sets for word in ("--set", text))]


def command(*words, **more):
    return [sys.executable, "-c", "from bench.cli import main; main()", *with_sets(*words, **more)]


def folders(cache, results):
    return {"BENCH_CACHE": str(cache), "BENCH_RESULTS": str(results)}


def environment(cache, results):
    return {**os.environ, **folders(cache, results), "OMP_NUM_THREADS": "1"}


def spawn(cache, results, *words, **more):
    """Run a command line in a process of its own."""
    return subprocess.run(
        command(*words, **more), env=environment(cache, results), capture_output=True, text=True, check=False
    )


CAPTIONS = ["run", "--extractor", "captions", "--model", "sasrec"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The main command, once, on a small world: (cache, results, the finished process)."""
    root = tmp_path_factory.mktemp("main")
    finished = spawn(root / "cache", root / "results", *CAPTIONS)
    assert finished.returncode == 0, finished.stderr
    return root / "cache", root / "results", finished


@pytest.fixture
def again(bench, done):
    """A function that runs a command line in this process, on the folders of `done` unless others are given."""

    def again(*words, cache=done[0], results=done[1], **more):
        return bench(*with_sets(*words, **more), env=folders(cache, results))

    return again


def values(results):
    """Every per-user number below a results folder, by row, seed and fold."""
    frames = {}
    for path in records.find(results):
        record = records.read(path)
        frames[records.Cell(**record.cell).label, record.seed, record.fold] = records.users(path)
    return frames


def assert_equal(one, two):
    assert one.keys() == two.keys()
    for key, frame in one.items():
        pd.testing.assert_frame_equal(frame, two[key])


def test_main_command_prints_a_board_with_its_controls(done):
    lines = done[2].stdout.splitlines()
    assert "simulated" in lines[0]
    rows = [line.split("|")[3:6] for line in lines if line.startswith("|")][2:]  # behind rank and its interval
    found = {tuple(cell.strip() for cell in row) for row in rows}
    assert found == {
        ("sasrec", "captions", "gate"),
        ("sasrec", "shuffled:captions", "gate"),
        ("sasrec", "random:captions", "gate"),
        ("sasrec", "id", "id"),
        *((model, "-", "-") for model in CONTROLS),
    }
    assert "pocket" in done[2].stdout


def test_records_hold_what_extraction_and_training_took(done, again):
    for record in map(records.read, records.find(done[1])):
        used = record.usage
        assert used["training"]["wall_s"] > 0 and used["training"]["gpu_s"] == 0
        if record.cell["extractor"] in ("-", "id"):
            assert "extraction" not in used
        else:
            assert used["extraction"]["items"] == 40 and used["extraction"]["cpu_s"] > 0
    assert "extract CPU h" in again("leaderboard", "--columns", "cost", sets=()).stdout


def test_second_run_is_served_from_cache_and_says_so(done, again):
    first, second = done[2], again(*CAPTIONS)
    assert "served from earlier runs" in second.stdout
    tables = [[line for line in out.splitlines() if line.startswith("|")] for out in (first.stdout, second.stdout)]
    assert tables[0] == tables[1]


def test_json_is_all_that_goes_to_standard_output(again):
    printed = json.loads(again(*CAPTIONS, "--json").stdout)
    (board,) = printed["boards"]
    assert board["simulated"] is True
    assert len(board["rows"]) == 4 + len(CONTROLS)
    jsonschema.validate(printed, json.loads(board_json.committed()))


def test_leaderboard_and_show_read_what_was_written(done, again):
    for form in ("md", "csv", "latex"):
        shown = again("leaderboard", "--format", form, sets=())
        assert "captions" in shown.stdout, shown.stderr
    path = next(p for p in records.find(done[1]) if "captions" in str(p))
    shown = again("show", path, sets=())
    assert "audit:" in shown.stdout
    assert "ndcg@10" in shown.stdout


def test_one_seed_gives_identical_numbers(done, tmp_path):
    cache, results, _ = done
    again = spawn(cache, tmp_path / "results", *CAPTIONS)
    assert again.returncode == 0, again.stderr
    assert_equal(values(results), values(tmp_path / "results"))


def test_records_hold_what_a_reader_needs(done):
    record = next(r for r in map(records.read, records.find(done[1])) if r.cell["extractor"] == "captions")
    assert record.status == "ok"
    assert record.simulated
    assert record.features["coverage"] == 1.0
    assert record.features["provenance"]["checkpoints"] == ["pocket", "pocket"]
    assert record.training["epochs"] >= 1
    assert record.training["parameters"] > 0
    assert all(verdict["ok"] for verdict in record.audit)
    assert {"validation", "test"} == {verdict["stage"] for verdict in record.audit}
    assert record.environment["packages"]["torch"]
    assert record.peak_memory_mb > 0
    assert record.metrics["n_users"] == record.fold_info["users"]


def test_a_cell_that_diverges_is_a_failed_row_and_the_others_stay(again, tmp_path):
    broken = again(*CAPTIONS, results=tmp_path, sets=(*SMALL, *QUICK, "sasrec.lr=1e30"))
    assert broken.exit_code == 1
    assert "failed: sasrec captions gate" in broken.stderr
    assert "Traceback" not in broken.stderr
    status = {records.read(p).cell["model"]: records.read(p).status for p in records.find(tmp_path)}
    assert status == {"sasrec": "failed", **dict.fromkeys(CONTROLS, "ok")}


@pytest.mark.slow
def test_deleting_the_ground_truth_changes_nothing_but_the_controls_that_use_it(done, again, tmp_path):
    cache, results, _ = done
    blind = tmp_path / "cache"
    shutil.copytree(cache, blind)
    truths = [p for p in blind.rglob("truth*") if p.is_dir()]
    assert truths
    for folder in truths:
        shutil.rmtree(folder)
    unseeing = spawn(blind, tmp_path / "results", *CAPTIONS)
    assert unseeing.returncode == 0, unseeing.stderr
    assert_equal(values(results), values(tmp_path / "results"))
    refused = again("run", "--extractor", "truth", "--no-controls", cache=blind, results=tmp_path / "results")
    assert refused.exit_code != 0
    assert "truth" in refused.stderr


def test_a_clip_that_does_not_decode_is_a_recorded_row(done, again, tmp_path):
    cache, _, _ = done
    damaged = tmp_path / "cache"
    shutil.copytree(cache, damaged)
    clip = sorted(damaged.rglob("*.mp4"))[3]
    clip.write_bytes(b"this is no video")
    shown = again("extract", "--extractor", "captions", cache=damaged, sets=SMALL)
    assert shown.exit_code == 0, shown.stderr
    assert re.search(r"\b1 +2\.5% +undecodable", shown.stdout)
    assert re.search(r"\b39 +97\.5% +ok", shown.stdout)
    finished = again(*CAPTIONS, "--no-controls", cache=damaged, results=tmp_path / "results")
    assert finished.exit_code == 0, finished.stderr
    coverage = {records.read(p).features["coverage"] for p in records.find(tmp_path / "results")}
    assert max(coverage) < 1.0


def interrupted(cache, results, sign, after):
    """Start the main command and send it a signal once `after(results)` holds."""
    process = subprocess.Popen(
        command(*CAPTIONS, "--jobs", "1"),
        env=environment(cache, results),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while process.poll() is None and not after(results) and time.monotonic() < deadline:
        time.sleep(0.05)
    if sign == signal.SIGINT:
        os.killpg(process.pid, sign)  # as a terminal does
    else:
        process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def some_records(results: Path):
    return results.exists() and len(list(records.find(results))) >= 2


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(done, tmp_path):
    cache, results, _ = done
    code, err = interrupted(cache, tmp_path, signal.SIGINT, some_records)
    assert code == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    kept = {p: p.stat().st_mtime_ns for p in records.find(tmp_path)}
    assert len(kept) >= 2
    again = spawn(cache, tmp_path, *CAPTIONS)
    assert again.returncode == 0, again.stderr
    assert all(p.stat().st_mtime_ns == was for p, was in kept.items())
    assert_equal(values(results), values(tmp_path))


@pytest.mark.slow
def test_sigkill_while_training_loses_nothing_that_was_finished(done, tmp_path):
    cache, results, _ = done
    code, _ = interrupted(cache, tmp_path, signal.SIGKILL, some_records)
    assert code == -signal.SIGKILL
    time.sleep(2.5)  # the orphaned worker notices that its parent is gone and ends
    kept = {p: p.stat().st_mtime_ns for p in records.find(tmp_path)}
    again = spawn(cache, tmp_path, *CAPTIONS)
    assert again.returncode == 0, again.stderr
    assert all(p.stat().st_mtime_ns == was for p, was in kept.items())
    assert_equal(values(results), values(tmp_path))


@pytest.mark.slow
def test_two_runs_at_once_on_one_cache_agree(done, tmp_path):
    _, results, _ = done
    cache = tmp_path / "cache"
    both = [
        subprocess.Popen(
            command(*CAPTIONS),
            env=environment(cache, tmp_path / "results"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in both:
        _, err = process.communicate(timeout=280)
        assert process.returncode == 0, err.decode()
    assert_equal(values(results), values(tmp_path / "results"))


def test_no_space_left_ends_with_a_remedy_and_keeps_what_is_there(bench, tmp_path):
    resource = pytest.importorskip("resource")

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = subprocess.run(
        command("data", "prepare", "demo", sets=SMALL),
        env=environment(tmp_path / "cache", tmp_path / "results"),
        capture_output=True,
        text=True,
        preexec_fn=small_files,
        check=False,
    )
    assert process.returncode == 2, process.stderr
    assert "space" in process.stderr
    assert "Traceback" not in process.stderr
    freed = bench(*with_sets("data", "prepare", "demo", sets=SMALL), env=folders(tmp_path / "cache", tmp_path))
    assert freed.exit_code == 0, freed.stderr
