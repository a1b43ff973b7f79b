"""Stored runs: failures are on no later board, are listed, tried again by the same command, and deleted on request."""

import json

import pytest

from bench import records
from bench.boards import stored_runs
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs import worker
from protocols.errors import UserError
from protocols.progress import Quiet
from recommenders.pop import Pop


@pytest.fixture
def env(write_cell, tmp_path):
    """A finished row, one of which a fold failed, one of which all failed; and folders for the command line."""
    write_cell("sasrec", "id", "id", seeds=(1, 2))
    write_cell("bpr", "id", "id")[1].unlink()
    failed = write_cell("sasrec", "titles", "gate", status="failed", error="ValueError: loss is NaN\nTraceback: here")
    partly = write_cell("sasrec", "captions", "gate")
    record = records.read(partly[0])
    record.status, record.error = "failed", ""
    records.write(partly[0].parent, record)
    (failed[0].parent / "search-abc.json").write_text("{}")
    failed[0].with_name(f"explain-{failed[0].name}").write_text("{}")
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "k10.safetensors").write_bytes(b"")
    return {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}


@pytest.mark.parametrize("words", [["--format", form] for form in ("md", "latex", "csv", "html", "json")])
def test_a_failure_is_on_no_later_board(env, bench, words):
    done = bench("leaderboard", *words, env=env)
    assert done.exit_code == 0
    assert "titles" not in done.stdout
    assert "NaN" not in done.stdout
    assert "seed 1 fold 0" in done.stdout or words[1] == "latex"  # the row with half of its folds says so


def test_neither_are_failures_compared_cited_or_reported(env, bench, tmp_path):
    for words in (["compare", "--grid"], ["compare", "--baseline", "sasrec/id"], ["cite"]):
        assert "titles" not in bench(*words, env=env).stdout
    assert bench("report", "-o", tmp_path / "site", env=env).exit_code == 0
    assert "titles" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_runs_are_listed_with_their_state(env, bench):
    rows = {one["row"]: one for one in json.loads(bench("runs", "--json", env=env).stdout)}
    assert {row: (one["status"], one["results"], one["folds"]) for row, one in rows.items()} == {
        "sasrec/id/id": ("ok", 4, 2),
        "bpr/id/id": ("incomplete", 1, 2),
        "sasrec/titles/gate": ("failed", 0, 2),
        "sasrec/captions/gate": ("failed", 1, 2),
    }
    assert rows["sasrec/id/id"]["seeds"] == [1, 2]
    assert rows["sasrec/titles/gate"]["failures"][1] == {
        "seed": 1, "fold": 1, "error": "ValueError: loss is NaN\nTraceback: here",
    }  # fmt: skip
    shown = bench("runs", "--failed", env=env).stdout
    assert "sasrec/id/id" not in shown
    assert "seed 1 fold 1: ValueError: loss is NaN\n" in shown
    assert "seed 1 fold 0: no reason recorded" in shown
    assert "Traceback" not in shown


def test_deletion_asks_and_takes_all_that_belongs_to_a_result(env, bench, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert bench("runs", "delete", "--failed", env=env, typed="n\n").exit_code == 1
    assert sorted(tmp_path.rglob("*")) == before
    done = bench("runs", "delete", "--failed", env=env, typed="y\n")
    assert "deleted 3 results" in done.stdout
    kept = [records.read(path) for path in records.find(tmp_path)]
    assert [one.status for one in kept] == ["ok"] * 6
    assert not list(tmp_path.rglob("*titles*"))
    assert not (tmp_path / "cache" / "models" / "k10.safetensors").exists()
    assert "no failed results" in bench("runs", "delete", "--failed", env=env).stdout
    assert "no failed runs" in bench("runs", "--failed", env=env).stdout


def test_a_run_is_deleted_by_its_row_or_id(env, bench, tmp_path):
    one = next(one for one in json.loads(bench("runs", "--json", env=env).stdout) if one["row"] == "bpr/id/id")
    for words, says in (
        (["sasrec"], "fits 3 runs"),
        (["narm"], "no run 'narm'"),
        ([], "nothing to delete is named"),
    ):
        done = bench("runs", "delete", *words, env=env)
        assert done.exit_code == 2
        assert says in done.stderr
    assert bench("runs", "--dataset", "toy", "delete", "bpr/id", "--yes", env=env).exit_code == 2
    assert bench("runs", "delete", one["run"], "sasrec/id/id", "--yes", env=env).exit_code == 0
    assert {records.read(path).cell["extractor"] for path in records.find(tmp_path)} == {"titles", "captions"}
    assert len(list((tmp_path / "toy" / "rolling-7d").iterdir())) == 2


def test_results_that_cannot_be_deleted_are_named(env, tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(self))

    found = records.read_all(tmp_path / "toy")
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with pytest.raises(UserError, match="cannot be deleted: Permission denied"):
        stored_runs.delete(found, tmp_path / "toy", tmp_path / "absent")


def test_a_folder_with_failures_alone_says_where_they_are_listed(write_cell, bench, tmp_path):
    write_cell("sasrec", "id", "id", status="failed", error="x")
    folders = {"BENCH_RESULTS": str(tmp_path), "BENCH_CACHE": str(tmp_path / "cache")}
    for words in (["leaderboard"], ["cite"], ["report", "-o", str(tmp_path / "site")]):
        done = bench(*words, env=folders)
        assert done.exit_code == 2
        assert "bench runs" in done.stderr


def test_the_same_command_tries_again_what_failed(tiny_world, tmp_path, monkeypatch):
    request = runs.Request([row_specs.RowSpec("pop", "id", "id")], tmp_path / "cache", tmp_path / "results", "tiny")
    context, (job, *_) = runs.prepare(request, Quiet())
    with monkeypatch.context() as patch:
        patch.setattr(Pop, "fit", lambda self, request: 1 / 0)
        path = worker.compute(context, job)
        assert records.read(path).failure == "ZeroDivisionError: division by zero"
    assert worker.compute(context, job) == path
    assert records.read(path).status == "ok"


def test_single_results_of_a_published_board_are_not_deleted(env, bench, tmp_path):
    assert bench("leaderboard", "--publish", tmp_path / "boards", env=env).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "boards").rglob("*") if path.is_file()}
    published = env | {"BENCH_RESULTS": str(tmp_path / "boards")}
    assert "sasrec/id/id" in bench("runs", env=published).stdout
    done = bench("runs", "delete", "sasrec/id/id", "--yes", env=published)
    assert done.exit_code == 2
    assert "is a published board" in done.stderr
    assert {path: path.read_bytes() for path in before} == before
