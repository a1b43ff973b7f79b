"""From records to ranked rows and tables."""

import csv
import io

import numpy as np
import pytest

from bench import records, tables
from bench.boards import leaderboard
from protocols.errors import UserError

SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture
def board(write_cell):
    paths = write_cell("pop", "-", "-", seeds=(0,), lift=-0.05)
    paths += write_cell("sasrec", "id", "id", seeds=SEEDS)
    paths += write_cell("sasrec", "captions", "gate", seeds=SEEDS, lift=0.05)
    paths += write_cell("sasrec", "random", "gate", seeds=SEEDS, lift=0.0)
    return leaderboard.build(paths)


def test_rows_are_ranked_by_ndcg_and_means_are_means_over_users_folds_and_seeds(board, write_cell):
    assert board.rows[0].label == "sasrec captions gate"
    assert board.rows[-1].label == "pop"
    paths = write_cell("sasrec", "captions", "gate", seeds=SEEDS, lift=0.05)
    expected = np.mean([records.users(path)["ndcg@10"].mean() for path in paths])
    assert board.rows[0].mean["ndcg@10"] == pytest.approx(expected, abs=1e-12)
    assert board.rows[0].low["ndcg@10"] < expected < board.rows[0].high["ndcg@10"]


def test_difference_to_the_id_row_finds_the_planted_lift_and_nothing_else(board):
    rows = {row.label: row for row in board.rows}
    planted = rows["sasrec captions gate"]
    assert planted.delta_vs_baseline["value"] == pytest.approx(0.05, abs=0.01)
    assert planted.delta_vs_baseline["low"] > 0
    assert planted.significant
    assert not rows["sasrec random gate"].significant
    assert rows["sasrec id id"].delta_vs_baseline is None


def test_under_five_seeds_there_is_no_p_and_no_mark(write_cell):
    paths = write_cell("sasrec", "id", "id", seeds=SEEDS[:4]) + write_cell(
        "sasrec", "captions", "gate", seeds=SEEDS[:4], lift=0.1
    )
    board = leaderboard.build(paths)
    assert not any(row.significant or row.tied is not None for row in board.rows)
    assert board.rows[0].delta_vs_baseline.keys() == {"value", "low", "high"}
    for form in ("md", "latex", "html"):
        text = tables.render(board, form)
        assert "4 seeds, fewer than 5: intervals are over users, for these seeds only" in text
        assert "no significance marks" in text
    one = leaderboard.build(write_cell("gru4rec", "id", "id", board="c", folds=1))
    text = tables.render(one, "md")
    assert "how far another seed moves a row is unknown" in text
    assert "\n1 fold, ranked users 200" in text and "1 seed, fewer than 5" in text


def test_rows_without_seeds_have_p_and_marks(write_cell):
    paths = write_cell("pop", "-", "-", seeds=(0,)) + write_cell("itemknn", "id", "id", seeds=(0,), lift=0.1)
    board = leaderboard.build(paths, baseline="pop")
    assert board.rows[0].significant
    assert [row.tied for row in board.rows] == [True, False]
    assert "these seeds" not in tables.render(board, "md")


def test_a_row_has_an_interval_of_its_rank_in_every_format(board):
    assert [row.rank_interval for row in board.rows] == [[1, 1], [2, 3], [2, 3], [4, 4]]
    lines = [line for line in tables.render(board, "md").splitlines() if line.startswith("|")]
    assert [line.split("|")[2].strip() for line in lines] == [
        "ranks",
        lines[1].split("|")[2].strip(),
        "1",
        "2-3",
        "2-3",
        "4",
    ]
    assert "& 2-3 &" in tables.render(board, "latex")
    rows = list(csv.DictReader(io.StringIO(tables.render(board, "csv"))))
    assert [(row["rank_low"], row["rank_high"]) for row in rows] == [("1", "1"), ("2", "3"), ("2", "3"), ("4", "4")]
    assert board.as_json()["rows"][1]["rank_interval"] == [2, 3]


def test_a_row_with_a_missing_fold_or_seed_stands_below_with_the_reason(write_cell):
    paths = write_cell("sasrec", "id", "id", seeds=SEEDS)
    paths += write_cell("sasrec", "captions", "gate", seeds=SEEDS)[:-1]
    board = leaderboard.build(paths)
    assert [row.label for row in board.rows] == ["sasrec id id"]
    assert board.unranked[0].label == "sasrec captions gate"
    assert "seed 5 fold 1" in board.unranked[0].reason
    assert "not ranked: sasrec captions gate" in tables.render(board, "md")


def test_a_failed_cell_is_a_row_with_its_reason(write_cell):
    paths = write_cell("sasrec", "id", "id") + write_cell(
        "sasrec", "captions", "gate", status="failed", error="loss is NaN"
    )
    board = leaderboard.build(paths)
    assert board.unranked[0].failed
    assert "loss is NaN" in tables.render(board, "csv")


def test_rows_of_different_fingerprints_never_share_a_board(write_cell, tmp_path):
    one = write_cell("sasrec", "id", "id", board="a")
    two = write_cell("sasrec", "captions", "gate", board="b")
    with pytest.raises(UserError, match="2 boards"):
        leaderboard.build(one + two)
    assert len(leaderboard.boards(tmp_path)) == 2


def test_simulated_data_and_pocket_checkpoints_are_said_so_in_every_format(write_cell):
    features = {"provenance": {"checkpoints": ["pocket", "pocket"]}, "coverage": 1.0}
    board = leaderboard.build(write_cell("sasrec", "captions", "gate", simulated=True, features=features))
    for form in ("md", "latex"):
        text = tables.render(board, form)
        assert "imulated" in text
        assert "pocket" in text
    row = next(csv.DictReader(io.StringIO(tables.render(board, "csv"))))
    assert row["simulated"] == "True"
    assert row["checkpoints"] == "pocket"


def test_hostile_names_stay_text(write_cell):
    name = "=cmd|'<script>_#%\n"
    board = leaderboard.build(write_cell("sasrec", name, "gate"))
    markdown = tables.render(board, "md")
    assert "<script>" not in markdown
    assert sum(line.startswith("|") for line in markdown.splitlines()) == 3
    latex = tables.render(board, "latex")
    assert r"\_\#\%" in latex
    row = next(csv.DictReader(io.StringIO(tables.render(board, "csv"))))
    assert row["extractor"].startswith("'=")


def test_latex_is_one_complete_table(board):
    text = tables.render(board, "latex")
    assert text.count(r"\begin{table") == text.count(r"\end{table") == 1
    assert text.count(r"\textbf{") == text.count(r"\underline{") == 1
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 5
    assert len({line.count(" & ") for line in rows}) == 1


def test_a_row_above_the_oracle_is_called_an_error(write_cell):
    paths = write_cell("oracle", "-", "-", seeds=(0,)) + write_cell("sasrec", "id", "id")
    assert "ERROR" not in tables.render(leaderboard.build(paths), "md")
    paths += write_cell("sasrec", "captions", "gate", lift=0.2)
    assert "ERROR: sasrec captions gate" in tables.render(leaderboard.build(paths), "md")


def test_ties_at_rank_ten_are_named(write_cell):
    board = leaderboard.build(write_cell("pop", "-", "-", seeds=(0,), metrics={"tie_share": 0.25}))
    assert "pop 25%" in tables.render(board, "md")


def test_a_row_is_compared_with_its_shuffled_control_of_the_same_fusion(write_cell):
    paths = write_cell("sasrec", "captions", "gate", lift=0.05) + write_cell("sasrec", "captions", "replace", lift=0.1)
    paths += write_cell("sasrec", "shuffled:captions", "gate")
    board = leaderboard.build(paths)
    shuffled = {row.fusion: row.delta_vs_shuffled for row in board.rows if row.extractor == "captions"}
    assert shuffled["replace"] is None
    assert shuffled["gate"]["value"] == pytest.approx(0.05, abs=0.01)
    assert shuffled["gate"]["low"] > 0
    assert "diff. to shuffled" in tables.render(board, "md")


def test_cold_among_cold_stands_with_interval_and_users_and_is_absent_from_older_records(write_cell):
    paths = [*write_cell("sasrec", "captions", "gate"), *write_cell("sasrec", "id", "id")]
    older = leaderboard.build(paths)
    assert older.rows[0].slices["cold_among_cold"] is None and "cold among cold" not in tables.render(older, "md")
    for path in paths[:2]:  # captions, folds 0 and 1: every fourth user has a cold target
        frame = records.users(path)
        values = np.where(np.arange(len(frame)) % 4 == 0, 0.2 + 0.1 * np.arange(len(frame)) / len(frame), np.nan)
        frame.assign(**{"ndcg@10_cold_among_cold": values}).to_parquet(records.frame_of(path), index=False)
    board = leaderboard.build(paths)
    rows = {row.extractor: row for row in board.rows}
    found = rows["captions"].slices
    assert found["cold_among_cold"] == pytest.approx(np.nanmean(values)) and found["cold_among_cold_users"] == 100
    assert found["cold_among_cold_low"] < found["cold_among_cold"] < found["cold_among_cold_high"]
    assert rows["id"].slices["cold_among_cold"] is None
    text = tables.render(board, "md")
    assert "cold among cold [95%] (users)" in text and f"{found['cold_among_cold']:.4f} [" in text and "(100)" in text
    assert "cold among cold" in tables.render(board, "latex")
    lines = {line["extractor"]: line for line in csv.DictReader(io.StringIO(tables.render(board, "csv")))}
    assert float(lines["captions"]["ndcg@10_cold_among_cold_users"]) == 100
    assert lines["id"]["ndcg@10_cold_among_cold"] == ""
    assert leaderboard.Board.from_json(board.as_json()) == board


def test_a_row_with_degenerate_features_is_called_so_in_every_format(write_cell):
    features = {"degenerate": "effective rank 1.2 of 64", "coverage": 1.0}
    paths = write_cell("sasrec", "captions", "gate", features=features) + write_cell("sasrec", "id", "id")
    paths += write_cell("sasrec", "captions", "replace", features=features)
    board = leaderboard.build(paths)
    for form in ("md", "latex"):
        text = tables.render(board, form)
        assert "DEGENERATE features: captions: effective rank 1.2 of 64" in text
        assert text.count("DEGENERATE") == 1  # once for all rows of these features
    cells = {row["extractor"]: row for row in csv.DictReader(io.StringIO(tables.render(board, "csv")))}
    assert cells["captions"]["degenerate"] == "effective rank 1.2 of 64"
    assert cells["id"]["degenerate"] == ""


def test_a_baseline_with_a_way_to_join_layers_is_found_by_its_words(write_cell):
    paths = write_cell("sasrec", "hidden-states", "gate/softmax") + write_cell("sasrec", "id", "id")
    for name in ("sasrec/hidden-states/gate/softmax", "gate/softmax", "sasrec hidden-states"):
        assert leaderboard.build(paths, baseline=name).baseline == "sasrec hidden-states gate/softmax"
    with pytest.raises(UserError, match="no ranked row 'gate/moe'"):
        leaderboard.build(paths, baseline="gate/moe")


def test_names_of_json_stay_whatever_fields_are_called(board):
    content = board.as_json()
    assert {"delta_vs_baseline", "delta_vs_id", "delta_vs_shuffled"} <= set(content["rows"][0])
    assert leaderboard.Board.from_json(content) == board


def test_fits_that_may_have_missed_the_optimum_stand_below_the_board(write_cell):
    paths = write_cell("sasrec", "id", "id", seeds=SEEDS)
    paths += write_cell("bpr", "id", "id", seeds=(1,), training={"doubts": ["kept 1.5 epochs"]})
    paths += write_cell("bpr", "id", "id", seeds=SEEDS[1:], training={"doubts": []})
    text = tables.render(leaderboard.build(paths), "md")
    assert "missed the optimum: bpr id id 2 of 10." in text


def test_what_a_fusion_costs_ids_by_its_equation_stands_below_the_board(write_cell):
    paths = write_cell("sasrec", "id", "id") + write_cell("sasrec", "captions", "gate")
    assert "Fusion" not in tables.render(leaderboard.build(paths), "md")
    paths += write_cell("sasrec", "captions", "concat")
    assert "Fusion concat: ids have half of the width, so that" in tables.render(leaderboard.build(paths), "md")
