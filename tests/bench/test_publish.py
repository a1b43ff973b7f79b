"""Committed results and the page written from them."""

from pathlib import Path

import pytest

from bench import leaderboard, publish, records
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
    assert (REPOSITORY / "BENCHMARKS.md").read_text() == publish.page(REPOSITORY / "results" / "boards")


def test_committed_records_name_no_path_of_a_machine():
    for path in records.find(REPOSITORY / "results" / "boards"):
        text = path.read_text()
        for folder in ("home", "root", "tmp"):
            assert f"/{folder}/" not in text
