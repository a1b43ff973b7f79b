"""Committed results and the page written from them."""

from pathlib import Path

import pytest

from bench import leaderboard, page, publish, records, tables
from protocols.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def test_a_published_board_is_the_local_board(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", seeds=(1, 2, 3))
    write_cell("sasrec", "captions", "gate", seeds=(1, 2, 3), lift=0.05)
    copies = publish.publish(tmp_path, tmp_path / "boards")
    assert len(copies) == 12
    local, shared = (
        leaderboard.build(records.find(tmp_path / "toy")),
        leaderboard.build(records.find(tmp_path / "boards")),
    )
    assert [row.label for row in local.rows] == [row.label for row in shared.rows]
    assert local.rows[0].mean["ndcg@10"] == pytest.approx(shared.rows[0].mean["ndcg@10"], abs=1e-6)
    assert set(records.users(copies[0])) <= set(publish.COLUMNS)


def test_failed_cells_are_not_published(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", status="failed", error="x")
    with pytest.raises(UserError, match="no finished records"):
        publish.publish(tmp_path, tmp_path / "boards")


def test_the_committed_page_is_what_the_committed_records_give():
    assert (REPOSITORY / "BENCHMARKS.md").read_text() == page.page(REPOSITORY / "results" / "boards")


def test_committed_records_name_no_path_of_a_machine():
    for path in records.find(REPOSITORY / "results" / "boards"):
        text = path.read_text()
        for folder in ("home", "root", "tmp"):
            assert f"/{folder}/" not in text


def test_a_page_says_what_is_simulated_and_shows_a_pivot_where_there_are_several_recommenders(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", simulated=True)
    write_cell("gru4rec", "captions", "gate", simulated=True)
    write_cell("bpr", "id", "id", board="real", folds=1, users=50, environment={"packages": {"torch": "2.0"}})
    text = page.page(tmp_path)
    simulated, real = text.split("\n## toy, rolling-7d\n")[1:]
    assert simulated.startswith("\nSimulated world: the order of extractors here tests the plumbing, it is no evidence")
    assert "named colour 0.50 whoever sees the frames" in " ".join(simulated.replace("|", " ").split())
    assert "### Extractors by recommenders" in simulated
    assert tables.SIMULATED not in real
    assert "### Extractors by recommenders" not in real
    assert "torch 2.0" in real


def test_factors_weigh_what_the_board_s_world_gives_them(write_cell, tmp_path):
    board = leaderboard.build(write_cell("sasrec", "id", "id", simulated=True))
    board.facts["dataset_options"] = {"content_weight": 2}
    lines = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in page.factors(board).splitlines()}
    assert ("named", "colour", "1.00") in lines
    assert ("personal", "personal", "1.15") in lines
    assert ("habit", "next_series", "0.50") in lines


def test_published_numbers_come_with_source_and_confidence_and_are_in_no_board():
    rows = page.reference_rows()
    assert (rows[["paper", "method", "metric", "value", "source", "confidence"]] != "").all(axis=None)
    shown = [[cell.strip() for cell in line.split("|")] for line in page.papers().splitlines()]
    assert any(
        cells[1:4] == ["MicroLens(2309.15379)", "SASRec", "MicroLens-100K"] and cells[5] == "0.0909" for cells in shown
    )
