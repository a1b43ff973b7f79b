"""Published numbers beside ours."""

import json

import pytest
from click.testing import CliRunner

from bench.boards import anchors, leaderboard
from bench.cli import cli
from bench.runs.cell_files import PRESETS
from bench.settings import read_yaml
from protocols.errors import UserError

NEAR = {"model": "sasrec", "extractor": "id", "fusion": "id", "source": "a table", "dataset": "toy"}


@pytest.fixture
def board(write_cell):
    paths = write_cell("sasrec", "id", "id")
    for path in paths:
        content = json.loads(path.read_text())
        content["cell"]["options"]["dataset"] = {"size": "50k"}
        path.write_text(json.dumps(content))
    return leaderboard.build(paths)


def judge(board, **words):
    return anchors.judge(board, anchors.read([NEAR | words], "x.yaml"))


def test_near_passes_and_far_fails_in_both_directions(board):
    ours = board.rows[0].mean["ndcg@10"]
    for share, ok in ((1.0, True), (1.09, True), (0.92, True), (1.2, False), (0.8, False)):
        (verdict,) = judge(board, metrics={"ndcg@10": ours / share})
        assert verdict.ok is ok
        assert verdict.ours == ours
        assert f"published {ours / share:.4f} (a table), ours {ours:.4f}, {share - 1:+.1%} (within 10%)" in verdict.text
        assert ("FAIL" in verdict.text) != ok
    assert judge(board, metrics={"ndcg@10": ours / 1.2}, within=0.3)[0].ok


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"dataset": "microlens"}, "this board is of toy, not of microlens"),
        ({"protocol": "microlens-loo"}, "this board is of rolling-7d, not of microlens-loo"),
        ({"dataset_options": {"size": "100k"}}, "toy.size is 50k, not 100k"),
        ({"model": "gru4rec"}, "no row gru4rec/id/id"),
        ({"metrics": {"ndcg@99": 0.1}}, "no such metric"),
    ],
)
def test_what_is_of_something_else_is_not_compared(board, words, why):
    (verdict,) = judge(board, **{"metrics": {"ndcg@10": 0.1}, **words})
    assert (verdict.ok, verdict.ours) == (None, None)
    assert why in verdict.text


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"model": "x"}, "must be a list"),
        ([{"model": "x", "metric": {}}], "did you mean 'metrics'"),
        ([{"model": "x"}], "needs model, metrics"),
        ([NEAR | {"metrics": {"hr@10": "high"}}], "needs model, metrics"),
        ([NEAR | {"metrics": {}}], "above 0"),
        ([NEAR | {"metrics": {"hr@10": 0.1}, "within": 0}], "above 0"),
    ],
)
def test_what_is_no_anchor_is_refused_with_the_file(entries, said):
    with pytest.raises(UserError, match=said) as caught:
        anchors.read(entries, "mine.yaml")
    assert "mine.yaml" in str(caught.value)


def test_the_preset_names_what_microlens_publishes():
    (anchor,) = anchors.read(read_yaml(PRESETS / "microlens-sasrec.yaml")["anchors"], "microlens-sasrec")
    assert anchor.metrics == {"hr@10": 0.0909, "ndcg@10": 0.0517}
    assert (anchor.dataset, anchor.dataset_options) == ("microlens", {"size": "100k"})


def test_a_run_says_pass_or_fail_and_exits_with_it(tmp_path):
    options = "demo: {clips: 24, users: 40, interactions: 400}"
    for published, code in ((1e-9, 1), (None, 0)):
        near = {} if published is None else {"within": 0.1}
        anchor = {"model": "pop", "metrics": {"hr@10": published or 0.5}, "source": "s", "within": 1e9, **near}
        file = tmp_path / "cells.yaml"
        file.write_text(f"dataset: demo\nset: {{{options}}}\nrows: [{{model: pop}}]\nanchors: [{json.dumps(anchor)}]\n")
        command = ["run", "--config", str(file), "--cache", str(tmp_path / "c"), "--results", str(tmp_path / "r")]
        said = CliRunner().invoke(cli, command, standalone_mode=False)
        assert said.exception is None
        assert said.return_value == code
        assert ("FAIL" if code else ": pass") in said.stdout
