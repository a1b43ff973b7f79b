"""`bench data audit` on a log of its own: tables, exit codes, and what a retrospective protocol is told."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench import records, registry, tables
from bench.boards import leaderboard
from bench.cli.data import data
from bench.cli.data_audit import audit
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.rows import RowSpec
from protocols.audit.leak_audit import KINDS
from protocols.dataset import Dataset, DatasetPlugin
from protocols.progress import Quiet
from protocols.splitting import presets
from protocols.splitting.rolling import DAY


def small_log():
    rng = np.random.default_rng(3)
    days = np.sort(rng.integers(0, 40 * DAY, 900))
    users, items = rng.integers(0, 30, 900), (25 * rng.random(900) ** 2).astype(int)
    log = pd.DataFrame({"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items], "timestamp": days})
    return Dataset.build("small", "1", log, pd.DataFrame(index=[f"i{i}" for i in range(25)]))


@dataclass(frozen=True)
class Small(DatasetPlugin):
    name: ClassVar[str] = "small"
    dataset: ClassVar = small_log()

    def load(self, cache, progress):
        return self.dataset


@pytest.fixture(autouse=True)
def registered(monkeypatch, tmp_path):
    honest = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Small if name == "small" else honest(kind, name))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))


def call(*words):
    """Exit code (or the error), standard output, standard error."""
    result = CliRunner().invoke(audit, ["--dataset", "small", *words], standalone_mode=False)
    return result.exception or result.return_value, result.stdout, result.stderr


def cells(out, first):
    line = next(line for line in out.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_it_is_a_subcommand_of_data():
    assert data.commands["audit"] is audit


def test_a_clean_protocol_shows_each_fold_and_eight_verdicts():
    code, out, err = call("--set", "rolling-7d.folds=2")
    assert (code, err) == (0, "")
    assert cells(out, "test from") == ["1970-01-27 00:00", "1970-02-03 00:00"]
    assert cells(out, "test to") == ["1970-02-03 00:00", "1970-02-10 00:00"]
    log = Small.dataset.interactions["timestamp"]
    assert cells(out, "fitted for test")[0] == str((log < 26 * DAY).sum())
    assert cells(out, "cold share of targets")[0].endswith("%")
    assert all(int(n) > 0 for n in cells(out, "dropped: repeat"))
    for kind in KINDS:
        assert cells(out, kind)[:2] == ["ok", "ok"]
    assert cells(out, "feature statistics")[2] == "no features in this run"
    assert "no leak found" in out


def test_a_leak_ends_with_exit_code_1_and_its_first_row(monkeypatch):
    honest = presets.fitted_rows
    monkeypatch.setattr(presets, "fitted_rows", lambda log, border, **k: honest(log, border + DAY, **k))
    code, out, err = call("--set", "rolling-7d.folds=2")
    assert code == 1
    assert cells(out, "parameters")[:2] == ["LEAK", "LEAK"]
    assert cells(out, "histories")[:2] == ["ok", "ok"]
    assert "no leak found" not in out
    assert err.startswith("leak: fold 0, validation: parameters: fitted row")
    assert "is not before 1970-01-20T00:00:00Z" in err


def test_a_retrospective_protocol_leaks_by_construction():
    code, out, err = call("--protocol", "microlens-loo")
    assert code == 1
    assert cells(out, "parameters")[0] == "LEAK"
    assert cells(out, "histories")[0] == "ok"
    assert "parameters: leaks the future by construction: row " in err
    code, out, _ = call("--protocol", "microlens-loo", "--black-box", "pop")
    assert code == 1
    assert "not run, this protocol has no border" in out


def test_bench_run_records_what_a_retrospective_protocol_declares_and_goes_on(tmp_path):
    request = runs.Request(
        [RowSpec("pop")], tmp_path / "cache", tmp_path / "results", dataset="small", protocol="microlens-loo"
    )
    context, (job,) = runs.prepare(request, Quiet())
    path = worker.compute(context, job)
    record = records.read(path)
    assert record.status == "ok", record.error
    assert {v["check"] for v in record.audit if v.get("by_construction")} >= {"parameters", "candidate set"}
    board = leaderboard.build([path])
    assert board.facts["audit_failures"] == 0
    text = tables.render(board, "md")
    assert "LEAKS THE FUTURE by construction: microlens-loo" in text
    assert "LEAK AUDIT" not in text


def test_json_holds_the_info_record_and_all_verdicts(monkeypatch):
    code, out, _ = call("--json", "--black-box", "pop", "--set", "rolling-7d.folds=1")
    found = json.loads(out)
    assert code == 0
    assert found["ok"] is True
    (fold,) = found["folds"]
    assert fold["info"]["border"] == "1970-02-03T00:00:00Z"
    assert [v["check"] for v in fold["verdicts"]] == [*KINDS, "targets", "future counts", "black box"]
    honest = presets.fitted_rows
    monkeypatch.setattr(presets, "fitted_rows", lambda log, border, **k: honest(log, border + DAY, **k))
    code, out, err = call("--json", "--set", "rolling-7d.folds=1")
    assert code == 1
    assert json.loads(out)["ok"] is False
    assert "parameters" in err


def test_features_and_the_black_box_are_audited_on_request():
    code, out, err = call(
        "--extractor", "random", "--black-box", "sasrec", "--set", "rolling-7d.folds=1", "--set", "random.dim=8",
        "--set", "sasrec.dim=8", "--set", "sasrec.max_epochs=2",
    )  # fmt: skip
    assert code == 0, err
    assert "whitening" in cells(out, "feature statistics")[1]
    assert cells(out, "black box")[0] == "ok"
    assert "sasrec random gate: all scores and lists are the same, bit for bit" in cells(out, "black box")[1]


def test_a_window_longer_than_the_data_is_an_error_with_numbers():
    error, _, _ = call("--set", "rolling-7d.window=60d", "--set", "rolling-7d.stride=60d")
    assert "the log is too short" in str(error)
