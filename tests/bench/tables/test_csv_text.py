"""Several boards, and several families of comparisons, in one CSV or page."""

import csv
import io

import pytest

from bench import tables
from bench.boards import compare, leaderboard
from bench.boards.cell_results import read_cells


@pytest.fixture
def boards(write_cell, tmp_path):
    write_cell("sasrec", "id", "id")
    write_cell("sasrec", "captions", "gate", lift=0.05)
    write_cell("gru4rec", "id", "id", board="other", folds=1)
    return leaderboard.boards(tmp_path)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), strict=True))


@pytest.mark.parametrize(
    ("view", "column"),
    [
        (tables.View(), "model"),
        (tables.View(columns=("row", "score")), "row"),
        (tables.View(columns=("row", "minus-baseline")), "minus sasrec id id"),
        (tables.View(pivot=True), "gru4rec"),
    ],
)
def test_several_boards_are_one_csv_whose_first_columns_name_the_board(boards, view, column):
    text = tables.render_all(boards, "csv", view)
    rows = rows_of(text)
    heads = text.splitlines()[0].split(",")
    assert heads[:5] == ["table", "board", "dataset", "simulated", "protocol"] and column in heads
    assert text.count("table,board") == 1 and "\n\n" not in text
    assert [(row["table"], row["board"]) for row in rows] == [
        (board.id, board.fingerprint)
        for board in boards
        for _ in (board.rows if not view.pivot else {row.extractor for row in board.rows})
    ]
    assert None not in rows[0] and not any(None in row.values() for row in rows)


def test_a_column_that_one_board_lacks_is_empty_there(boards):
    first, _, last = rows_of(tables.render_all(boards, "csv", tables.View(pivot=True)))
    assert first["sasrec"] and not first["gru4rec"] and last["gru4rec"] and not last["sasrec"]


def test_several_boards_are_one_page(boards):
    text = tables.render_all(boards, "html")
    assert text.count("<!doctype html>") == text.count("</html>") == 1
    assert all(f"Table {board.id}" in text for board in boards)


def test_families_of_comparisons_are_one_csv(boards, write_cell, tmp_path):
    write_cell("pop", "-", "-", board="other", folds=1, seeds=(0,))
    reports = compare.grid(read_cells(sorted(tmp_path.rglob("s*.json"))), baseline="id", pairs=True)
    rows = rows_of(tables.comparisons(reports, "csv"))
    assert len(reports) > 2 and len(rows) == sum(len(report.lines) for report in reports)
    assert len({(row["board"], row["correction"]) for row in rows}) == len(reports)


def test_the_command_prints_one_csv(boards, bench, tmp_path):
    done = bench("leaderboard", "--results", tmp_path, "--format", "csv")
    assert done.exit_code == 0
    assert [row["board"] for row in rows_of(done.stdout)] == ["b", "b", "other"]
