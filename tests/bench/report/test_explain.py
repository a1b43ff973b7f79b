"""From a record back to its trained model, and what is seen in it."""

import json
import shutil

import pytest
from click.testing import CliRunner

from bench import records, registry
from bench.boards import lookup
from bench.boards.cell_results import read_cells
from bench.cli.explain import explain as command
from bench.report.explain import explain
from bench.runs import restore
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import DataError, UserError
from protocols.progress import Quiet

OPTIONS = {"dim": 8, "inner": 8, "batch": 64, "max_epochs": 3, "patience": 2}


@pytest.fixture(scope="module")
def trained(tiny_world, tmp_path_factory):
    """Folders of a run of three rows, and its records by extractor."""
    home = tmp_path_factory.mktemp("trained")
    request = runs.Request(
        rows=[RowSpec("sasrec", "random", "gate"), RowSpec("bpr", "shuffled:random", "gate"), RowSpec("pop")],
        cache=home / "cache",
        results=home / "results",
        dataset="tiny",
        options={
            "sasrec": OPTIONS,
            "bpr": {"dim": 8, "batch": 64, "max_epochs": 3},
            "random": {"dim": 6},
            "rolling-7d": {"folds": 1},
        },
    )
    paths = runs.run(request, Quiet()).paths
    return home, {records.read(path).cell["extractor"]: path.relative_to(home) for path in paths}


@pytest.fixture
def made(trained, tmp_path):
    """A function that returns the path of the record of an extractor, in folders that the test may change."""
    home, paths = trained
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    return lambda extractor="random": tmp_path / paths[extractor]


def back(path, tmp_path):
    wanted = restore.request(records.read(path), tmp_path / "cache", tmp_path / "results")
    return restore.restore(path, wanted, Quiet())


def test_kept_weights_and_a_fit_from_the_record_give_the_records_numbers_bit_for_bit(made, tmp_path):
    path = made()
    restored = back(path, tmp_path)
    assert restored.kept
    assert restored.largest == 0
    assert "kept weights" in restored.origin
    for file in (tmp_path / "cache" / "models").iterdir():
        file.unlink()
    again = back(path, tmp_path)
    assert not again.kept
    assert again.largest == 0
    assert "trained again" in again.origin
    assert again.users["ndcg@10"].tolist() == restored.users["ndcg@10"].tolist()


def test_a_wrapped_extractor_is_brought_back_with_its_inner_options(made, tmp_path):
    path = made("shuffled:random")
    restored = back(path, tmp_path)
    assert restored.largest == 0
    assert restored.job.cell.options["extractor"]["inner"]["dim"] == 6
    # a model that makes its scores of tables, once: knocked out they are made anew, and the model is as it was after
    costs = {(one["part"], one["how"]): one["cost"] for one in explain(restored)["knockouts"]}
    assert costs["ids", "shuffle"] != 0
    assert costs["content", "zero"] != 0
    assert restored.rank(restored.fitted.scorer)["ndcg@10"].tolist() == restored.users["ndcg@10"].tolist()


def test_what_is_seen_in_a_model(made, tmp_path):
    restored = back(made(), tmp_path)
    found = explain(restored)
    assert found["value"] == pytest.approx(restored.users["ndcg@10"].mean())
    costs = {(one["part"], one["how"]): one for one in found["knockouts"]}
    assert costs.keys() == {(part, how) for part in ("ids", "content") for how in ("zero", "shuffle", "mean")}
    for one in costs.values():
        assert one["cost"] == pytest.approx(found["value"] - one["value"])
        assert one["low"] <= one["cost"] <= one["high"]
    assert any(one["cost"] != 0 for one in costs.values())
    assert 0 < found["gate"]["all items"] < 1
    assert found["items"] == []
    assert json.loads(json.dumps(found)) == found
    # the model is as it was
    assert restored.rank(restored.fitted.scorer)["ndcg@10"].tolist() == restored.users["ndcg@10"].tolist()


def test_a_model_whose_item_vectors_are_not_trained_has_nothing_to_show(made, tmp_path):
    path = made("-")
    with pytest.raises(UserError, match="nothing to look into"):
        explain(back(path, tmp_path))


def test_other_data_are_refused(made, tmp_path, monkeypatch, simulate_dataset):
    path = made()
    monkeypatch.setattr(registry.load("dataset", "tiny"), "dataset", simulate_dataset(seed=6, releases=True))
    with pytest.raises(DataError, match="is of board"):
        back(path, tmp_path)


def test_a_record_of_other_options_is_refused_with_the_option(made, tmp_path):
    path = made()
    record = records.read(path)
    del record.cell["options"]["model"]["id_dropout"]
    changed = tmp_path / "elsewhere" / path.name
    records.write(changed.parent, record, records.users(path))
    with pytest.raises(DataError, match=r"model\.id_dropout is 0\.2, the record says 'absent'"):
        back(changed, tmp_path)


def test_numbers_that_are_not_the_records_are_called_so(made, tmp_path):
    path = made()
    users = records.users(path)
    users.loc[0, "ndcg@10"] += 0.25
    users.to_parquet(path.with_suffix(".parquet"))
    assert "NOT the record's model" in back(path, tmp_path).origin


def test_the_command_prints_costs_and_keeps_them_beside_the_record(made, tmp_path):
    path = made()
    words = [
        "sasrec/random/gate",
        "--seed",
        "1",
        "--cache",
        str(tmp_path / "cache"),
        "--results",
        str(tmp_path / "results"),
    ]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "| content | shuffle" in done.stdout.replace("  ", " ").replace("  ", " ")
    assert "bit for bit" in done.stdout
    kept = json.loads((path.parent / f"explain-{path.stem}.json").read_text())
    assert kept["fold"] == 0
    assert len(read_cells(records.find(tmp_path / "results"))) == 3  # it is no record


@pytest.mark.parametrize("kept", [True, False])
def test_runs_on_mounts_that_cannot_be_written_are_explained_and_timed(made, tmp_path, bench, read_only, kept):
    made()
    if not kept:
        shutil.rmtree(tmp_path / "cache" / "models")
    env = {"BENCH_CACHE": str(tmp_path / "cache"), "BENCH_RESULTS": str(tmp_path / "results")}
    with read_only(tmp_path / "cache", tmp_path / "results"):
        done = bench("explain", "sasrec/random/gate", env=env)
        assert done.exit_code == 0, done.stderr
        assert "bit for bit" in done.stdout
        assert f"not kept for bench report: {tmp_path}" in done.stdout
        for words in (
            ["latency", "sasrec/random/gate", "--requests", "10"],
            ["explain", "sasrec/random/gate", "--json"],
            ["show", "sasrec/random/gate"],
            ["leaderboard"],
            ["runs"],
            ["cite"],
            ["report", "-o", str(tmp_path / "site")],
        ):
            done = bench(*words, env=env)
            assert done.exit_code == 0, (words, done.stderr)
        done = bench("runs", "delete", "sasrec/random/gate", "--yes", env=env)
        assert done.exit_code == 2
        assert "cannot be written" in done.stderr


def test_one_run_and_one_record_by_name(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate/softmax", seeds=(2, 3))
    path = write_cell("sasrec", "captions", "gate/moe", seeds=(1,))[0]
    among = read_cells(records.find(tmp_path))
    chosen = lookup.select_one("captions/gate/softmax", among)
    assert (chosen.cell.fusion, chosen.seeds) == ("gate/softmax", [2, 3])
    picked = records.read(lookup.record_of(chosen, "captions/gate/softmax"))
    assert (picked.seed, picked.fold) == (2, 1)
    assert lookup.record_of(lookup.select_one(str(path), among), str(path)) == path
    with pytest.raises(UserError, match="fits 2 runs"):
        lookup.select_one("captions", among)
    with pytest.raises(UserError, match="no seed 9 fold 1; there are: seed 2 fold 0"):
        lookup.record_of(chosen, "x", seed=9)
