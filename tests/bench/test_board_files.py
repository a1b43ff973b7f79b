"""Files of a published board: bad lines, other users, columns that some cells lack."""

import json

import numpy as np
import pandas as pd
import pytest

from bench import board_files, records
from bench.boards import leaderboard
from bench.publishing import publish
from protocols.errors import DataError


@pytest.fixture
def board(write_cell, tmp_path):
    """Folder of a published board of two rows, of two seeds and folds each."""
    write_cell("sasrec", "id", "id", seeds=(1, 2))
    write_cell("sasrec", "captions", "gate", seeds=(1, 2), lift=0.05)
    return publish.publish(tmp_path / "toy", tmp_path / "boards")[0].parents[2]


def change(board, number, edit):
    """Edit the record in a line, counted from 1."""
    file = board / board_files.RECORDS
    lines = file.read_text().splitlines()
    content = edit(json.loads(lines[number - 1]))
    lines[number - 1] = content if isinstance(content, str) else json.dumps(content)
    file.write_text("\n".join(lines) + "\n")


FAULTS = [
    (lambda record: "{", "EOF while parsing"),
    (lambda record: "[1]", "dictionary"),
    (lambda record: json.dumps(record).replace('"peak_memory_mb": 0.0', '"peak_memory_mb": NaN'), "line 3"),
    (lambda record: record | {"status": "fine"}, "'ok' or 'failed'"),
    (lambda record: record | {"key": "../../x"}, "match pattern"),
    (lambda record: record | {"seed": 1, "fold": 1, "key": "k11"}, "line 2 holds the same cell, seed and fold"),
    (lambda record: record | {"seed": "1"}, "valid integer"),
]


@pytest.mark.parametrize(("edit", "message"), FAULTS)
def test_a_bad_line_is_named_and_the_others_are_read(board, bench, edit, message):
    change(board, 3, edit)
    with pytest.warns(records.Skipped, match=r"records\.jsonl, line 3 is not a run record") as said:
        found = records.read_all(board)
    assert len(found) == 7
    assert message in str(said[0].message)
    env = {"BENCH_RESULTS": str(board), "BENCH_CACHE": str(board / "cache")}
    done = bench("leaderboard", env=env)
    assert done.exit_code == 1
    assert "records.jsonl, line 3" in done.stderr


def test_users_of_another_record_are_refused_and_the_line_is_named(board, bench):
    swapped = json.loads((board / board_files.RECORDS).read_text().splitlines()[3])["users_digest"]
    change(board, 1, lambda record: record | {"users_digest": swapped})
    (found,) = leaderboard.boards(board)
    assert [row.label for row in found.rows] == ["sasrec id id"]
    assert "records.jsonl, line 1: column" in found.unranked[0].reason
    done = bench("show", "sasrec/captions", env={"BENCH_RESULTS": str(board)})
    assert done.exit_code == 1
    with pytest.raises(DataError, match=r"records\.jsonl, line 1: column"):
        publish.publish(board, board / "again")


def test_records_and_cells_have_paths_that_commands_take(board, bench):
    env = {"BENCH_RESULTS": str(board), "BENCH_CACHE": str(board / "cache")}
    path = next(records.find(board))
    assert path.parents[1] == board / board_files.RECORDS
    assert records.source_of(path) == board / board_files.RECORDS
    for name in (path, "sasrec/captions"):
        assert bench("show", name, env=env).exit_code == 0
    done = bench("compare", path.parent, "sasrec/id", "--json", env=env)
    assert done.exit_code == 0, done.output
    absent = path.with_name("s9-f9-k.json")
    done = bench("show", absent, env=env)
    assert (done.exit_code, "holds no sasrec_captions_gate" in done.stderr) == (2, True)


def test_a_column_that_a_cell_lacks_is_absent_and_nan_is_a_value(tmp_path):
    paths = {name: tmp_path / board_files.RECORDS / name / "s1-f0-k.json" for name in ("a", "b")}
    frames = {"a": pd.DataFrame({"user_id": ["x", "y"], "cold": np.array([np.nan, np.nan], "float32")})}
    frames["b"] = pd.DataFrame({"user_id": ["x"], "hit": np.array([1.0], "float32")})
    lines = {path: {"seed": 1, "fold": 0} for path in paths.values()}
    board_files.write(tmp_path, lines, {path: frames[name] for name, path in paths.items()})
    for name, path in paths.items():
        assert board_files.columns(path) == list(frames[name])
        pd.testing.assert_frame_equal(records.users(path), frames[name])
    with pytest.raises(DataError, match="no column 'cold'"):
        records.users(paths["b"], ["cold"])
    with pytest.raises(DataError, match="holds nothing of c"):
        records.users(paths["a"].parents[1] / "c" / "s1-f0-k.json")


def test_a_parquet_of_somebody_else_is_refused(board):
    path = next(records.find(board))
    pd.DataFrame({"user_id": ["x"]}).to_parquet(board / board_files.USERS)
    with pytest.raises(DataError, match="not as bench writes it"):
        records.users(path)


def test_explanations_of_a_published_record_lie_beside_its_board(board):
    from bench.report import explanations

    path = next(records.find(board))
    explanations.write(path, {"value": 1.0})
    assert explanations.read(path)["value"] == 1.0
    assert {one.parent for one in board.glob("explain-*")} == {board}
