"""One shape of boards as JSON, and its schema."""

import json

import jsonschema
import pytest

from bench.boards import board_json, leaderboard


@pytest.fixture
def printed(write_cell, bench, tmp_path):
    for seeds, board in (((1, 2, 3, 4, 5), "b"), ((1,), "few")):
        write_cell("sasrec", "id", "id", seeds=seeds, board=board)
        write_cell("sasrec", "captions", "gate", seeds=seeds, board=board, lift=0.05)
        write_cell("sasrec", "shuffled:captions", "gate", seeds=seeds, board=board)
    write_cell("pop", "-", "-", seeds=(0,), folds=1)
    done = bench(
        "leaderboard", "--format", "json", env={"BENCH_RESULTS": str(tmp_path), "BENCH_CACHE": str(tmp_path / "c")}
    )
    assert done.exit_code == 0
    return done.stdout


def test_what_is_printed_fits_the_schema_of_the_package(printed, tmp_path):
    content = json.loads(printed)
    schema = json.loads(board_json.committed())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)
    assert [len(board["rows"]) for board in content["boards"]] == [3, 3] and content["boards"][0]["unranked"]
    jsonschema.validate({**content, "run": {"cached": 0, "seconds": {}, "anchors": [], "contrasts": ["x"]}}, schema)
    del content["boards"][0]["rows"][0]["mean"]
    with pytest.raises(jsonschema.ValidationError, match="'mean' is a required property"):
        jsonschema.validate(content, schema)


def test_the_schema_of_the_package_is_that_of_the_code():
    assert json.loads(board_json.committed()) == json.loads(json.dumps(board_json.schema()))


def test_boards_come_back_as_they_were(printed, tmp_path):
    (tmp_path / "boards.json").write_text(printed)
    back = board_json.read(tmp_path / "boards.json")
    assert board_json.dumps(back) + "\n" == printed
    built = leaderboard.boards(tmp_path)
    assert [board.id for board in back] == [board.id for board in built]
