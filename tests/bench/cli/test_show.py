"""`bench show`: records and runs, one user, what is shown most, how metrics come about."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench import records
from bench.cli.show import show
from bench.report.formulas import worked
from protocols.errors import UserError
from protocols.evaluation import metrics

RANKS = {"ann": [3, 50], "bob": [0], "cy": [1]}


@pytest.fixture
def run(write_cell, tmp_path):
    """Paths of the records of a run of two folds whose users have targets and lists."""
    paths = write_cell("sasrec", "captions", "gate/softmax", training={"search_curve": [{"loss": 2.0}]})
    for path in paths:
        frame = pd.DataFrame({"user_id": list(RANKS), "n_history": [7, 8, 9]})
        frame["hr@10"], frame["ndcg@10"], frame["ndcg@10_cold"] = [1.0, 0.0, 1.0], [0.31, 0.0, 1.0], np.nan
        frame["top"] = [[f"i{k}" for k in range(12)], ["i0", "\x1b[31m"], ["i0", "won"]]
        frame["target"] = [["i2", "far"], [None], ["i0"]]
        frame["target_rank"], frame["target_events"] = list(RANKS.values()), [[5, 0], [0], [9]]
        frame.to_parquet(path.with_suffix(".parquet"))
    write_cell("pop", "-", "-", seeds=(0,))
    return paths


def shown(tmp_path, *words):
    done = CliRunner().invoke(show, [*words, "--results", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_run_by_name_is_a_line_for_each_seed_and_fold_and_a_record_by_path_is_itself(run, tmp_path):
    text = shown(tmp_path, "captions/gate/softmax")
    assert "2 records" in text
    assert sum(line.startswith("| 1 ") for line in text.splitlines()) == 2
    single = shown(tmp_path, str(run[1]))
    assert "seed 1, fold 1" in single
    assert "audit: 1 of 1 check passed" in single
    assert "{'loss': 2.0}" in shown(tmp_path, str(run[0]), "--curve")


def test_json_is_the_records_whole(run, tmp_path):
    lines = shown(tmp_path, "captions", "--json").splitlines()
    assert [json.loads(line)["fold"] for line in lines] == [0, 1]
    assert json.loads(lines[0])["key"] == records.read(run[0]).key


def test_one_user_with_targets_list_and_formulas(run, tmp_path):
    text = shown(tmp_path, "captions", "--user", "ann", "--topk", "--formulas")
    assert text.count("user ann, seed 1") == 2
    assert "7 events before" in text
    assert "took i2: rank 3, 5 fitted events" in text
    assert "  3 * i2" in text
    assert "  2   i1" in text
    assert "HR@10 = 1: 1 of 2 targets" in text
    assert "(1/log2(1+3)) / (1/log2(2) + 1/log2(3)) = 0.5000 / 1.6309 = 0.3066" in text
    missing = shown(tmp_path, str(run[0]), "--user", "bob", "--topk")
    assert "took (no item of this problem): not found" in missing
    assert "\x1b" not in missing


def test_the_items_shown_most(run, tmp_path):
    text = shown(tmp_path, str(run[0]), "--topk")
    assert "in the first ten of 3 users" in text
    assert "100.0%  i0" in text
    assert "i11" not in text  # beyond the first ten


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("captions", "--user", "nobody"), "no user 'nobody' was ranked in .*for example ann, bob, cy"),
        (("captoins",), "no run 'captoins'"),
        (("pop", "--topk"), "holds no top lists"),
        (("pop", "--user", "u1", "--formulas"), "holds no ranks of targets"),
    ],
)
def test_what_is_not_there_is_the_users_mistake(run, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        shown(tmp_path, *words)


@pytest.mark.parametrize("ranks", [[3, 50], [0], [1], [1, 2, 3], list(range(5, 30)), [10, 11]])
def test_formulas_worked_out_are_the_metrics(ranks):
    rank = np.where(np.array(ranks) > 0, ranks, np.inf).astype(float)
    user = np.zeros(len(ranks), dtype=np.int64)
    said = worked(ranks)
    for line, name in zip(said, ("hr", "ndcg", "recall", "mrr"), strict=True):
        value = float(line.split(":")[0].rsplit("= ", 1)[1])
        assert value == pytest.approx(metrics.FORMULAS[name](rank, user, 1, 10)[0], abs=5e-5)


def test_a_name_that_fits_several_runs_is_narrowed_or_the_latest_is_taken(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    for path in write_cell("sasrec", "captions", "add"):
        os.utime(path, ns=(1, 1))
    with pytest.raises(UserError, match="fits 2 runs") as refused:
        shown(tmp_path, "sasrec/captions")
    assert "--latest" in refused.value.remedy
    lines = shown(tmp_path, "sasrec/captions", "--latest", "--json").splitlines()
    assert [json.loads(line)["cell"]["fusion"] for line in lines] == ["gate", "gate"]
    with pytest.raises(UserError, match="no run 'sasrec/captions'"):
        shown(tmp_path, "sasrec/captions", "--dataset", "ml-100k", "--latest")
    assert "2 records" in shown(tmp_path, "captions", "--dataset", "toy", "--protocol", "rolling-7d", "--latest")
