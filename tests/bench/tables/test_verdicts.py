"""Verdicts, charts and columns of a board."""

import xml.etree.ElementTree as ET

import pytest

from bench.boards import leaderboard
from bench.tables import charts, columns, verdicts
from protocols.errors import UserError

HOSTILE = "ev<script>alert(1)</script>&\u202e\x1b"


@pytest.fixture
def build(write_cell, tmp_path):
    """A function that builds a board of a row with content, its control and ids."""

    def build(content=0.05, shuffled=0.0, seeds=(1, 2, 3, 4, 5), extractor="captions"):
        write_cell("sasrec", "id", "id", seeds=seeds)
        write_cell("sasrec", extractor, "gate", seeds=seeds, lift=content)
        write_cell("sasrec", f"shuffled:{extractor}", "gate", seeds=seeds, lift=shuffled)
        return leaderboard.boards(tmp_path)[0]

    return build


def row(board, extractor="captions"):
    return next(one for one in board.rows if one.extractor == extractor)


@pytest.mark.parametrize(
    ("content", "shuffled", "words"),
    [
        (0.05, 0.0, "the content adds to ids"),
        (0.05, 0.05, "not shown to be of the content"),
        (0.0, 0.0, "no difference is shown"),
        (-0.05, -0.1, "the content is used, and ids alone are better"),
        (0.03, 0.08, "wrong items' vectors do better: the gain over ids is not of the content"),
    ],
)
def test_a_claim_compares_with_the_shuffled_control_and_with_ids(build, content, shuffled, words):
    board = build(content, shuffled)
    said = verdicts.claim(board, row(board))
    assert words in said
    assert "5 seeds" in said and "only" not in said
    assert verdicts.interval(row(board).delta_vs_shuffled) in said
    assert verdicts.interval(verdicts.minus_id(board, row(board))) in said


@pytest.mark.parametrize(("seeds", "words"), [((1,), "1 seed: these"), ((1, 2), "2 seeds: these")])
def test_fewer_than_five_seeds_are_named_and_nothing_is_called_significant(build, seeds, words):
    board = build(seeds=seeds)
    claim, unsaid = verdicts.verdict(board)
    assert words in claim
    assert "Nothing is called significant" in unsaid
    assert all(words in line for line in verdicts.counts(board))


def test_ceilings_are_not_the_best_row(build, write_cell, tmp_path):
    build(seeds=(1,))
    write_cell("sasrec", "truth", "gate", lift=0.1)
    write_cell("oracle", "-", "-", seeds=(0,), lift=0.2)
    said = verdicts.best(leaderboard.boards(tmp_path)[0])
    assert said.startswith("Best of 3 rows: sasrec captions gate") and "ceilings: oracle" in said


def test_without_a_control_nothing_follows_for_the_content(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    (board,) = leaderboard.boards(tmp_path)
    assert "nothing follows" in verdicts.claim(board, board.rows[0])
    write_cell("sasrec", "id", "id")
    (board,) = leaderboard.boards(tmp_path)
    assert "without a shuffled control nothing follows" in verdicts.claim(board, row(board))
    assert charts.forest(board) == charts.heat(board) == ""


def test_charts_are_xml_with_every_row_and_no_name_gets_out(build):
    board = build(extractor=HOSTILE)
    for text in (charts.forest(board), charts.heat(board)):
        drawn = ET.fromstring(text)
        assert "script>" not in text
        assert not {"\u202e", "\x1b"} & set(text)
        said = ["".join(one.itertext()) for one in drawn.iter("{http://www.w3.org/2000/svg}title")]
        assert any(verdicts.interval(row(board, HOSTILE).delta_vs_shuffled) in one for one in said)


def test_usual_columns_and_those_that_are_asked_for(build):
    board = build()
    heads, body = columns.table(board, columns.used(board, columns.USUAL, board.rows), board.rows)
    assert heads == ["row", "nDCG@10 [95%]", "ranks", "minus id", "minus shuffled", "notes"]
    assert len(body) == 3
    assert columns.chosen("row, warm") == ["row", "warm"]
    with pytest.raises(UserError, match="did you mean 'warm'"):
        columns.chosen("wram")
    for name, value in columns.COLUMNS.items():
        assert name == "notes" or all(value(board, one) for one in board.rows), name
