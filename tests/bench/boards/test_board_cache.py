"""Boards that were built before."""

import json

import pytest

from bench.boards import board_cache, leaderboard


@pytest.fixture
def build(write_cell, tmp_path, monkeypatch):
    write_cell("sasrec", "id", "id", seeds=(1, 2, 3, 4, 5))
    write_cell("sasrec", "captions", "gate", seeds=(1, 2, 3, 4, 5), lift=0.05)
    built = []
    made = leaderboard.build

    def counted(*words):
        built.append(words)
        return made(*words)

    monkeypatch.setattr(leaderboard, "build", counted)
    return lambda **more: (board_cache.boards(tmp_path / "toy", tmp_path / "cache", **more), len(built))


def test_boards_come_from_the_cache_as_they_were(build):
    first, _ = build()
    again, built = build()
    assert built == 1
    assert [board.as_json() for board in again] == [board.as_json() for board in first]
    assert again[0].rows[0].significant


def test_another_record_or_question_builds_anew(build, write_cell):
    build()
    assert build(metric="hr@10")[1] == 2
    write_cell("pop", "-", "-", seeds=(0,))
    found, built = build()
    assert (built, len(found[0].rows)) == (3, 3)


def test_a_board_that_did_not_change_is_not_built_again(build, write_cell):
    build()
    write_cell("gru4rec", "id", "id", board="another")
    found, built = build()
    assert (built, len(found)) == (2, 2)


def test_a_broken_file_in_the_cache_is_made_anew(build, tmp_path):
    build()
    for path in (tmp_path / "cache" / "boards").glob("*.json"):
        path.write_text('{"boards": [')
    assert build()[1] == 2


def test_intervals_that_one_user_cannot_give_are_null_in_json_and_the_same_from_the_cache(write_cell, tmp_path, bench):
    for extractor, fusion in (("id", "id"), ("captions", "gate")):
        write_cell("sasrec", extractor, fusion, users=1)

    def refuse(name):
        raise AssertionError(name)

    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}
    for form in ("json", "md", "csv", "latex"):
        words = ("leaderboard", "--format", form, "--metric", "ndcg@10_warm")
        first, again = (bench(*words, env=env).stdout for _ in range(2))
        assert first == again
        if form == "json":
            (board,) = json.loads(first, parse_constant=refuse)["boards"]
            assert board["rows"][0]["low"]["hr@10"] is None
    for path in (tmp_path / "cache" / "boards").glob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)
