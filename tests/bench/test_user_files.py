"""Per-user files as they are read, whole and in part; files that no run has written."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import records, user_files
from bench.boards import leaderboard
from protocols.errors import BenchError, DataError


def test_a_frame_comes_back_as_it_was_written(write_cell):
    (path, *_) = write_cell("sasrec", "id", "id")
    frame = records.users(path).assign(
        n_targets=np.arange(200, dtype=np.int32), seen=True, top=[[f"i{i}", None] for i in range(200)]
    )
    records.write(path.parent, records.read(path), frame)
    found = records.users(path)
    assert list(found) == list(frame) == records.columns(path)
    assert (found.dtypes == frame.dtypes).all()
    assert found["top"].map(list).tolist() == frame["top"].tolist()
    pd.testing.assert_frame_equal(found.drop(columns="top"), frame.drop(columns="top"))
    assert not records.mismatches({path: records.read(path)})


def test_arrays_are_those_of_the_frame_and_ids_are_shared(write_cell):
    paths = write_cell("sasrec", "id", "id", seeds=(1, 2), folds=1)
    wanted = ["ndcg@10", "ndcg@10_cold"]
    (ids, first), (same, _) = (user_files.arrays(path, lambda held: wanted) for path in paths)
    frame = records.users(paths[0])
    assert ids is same and ids.digest == user_files.column_digest(frame["user_id"])
    assert ids.ids.tolist() == sorted(frame["user_id"])
    assert list(first) == wanted
    for name, values in first.items():
        np.testing.assert_array_equal(values, frame[name])
    checked = records.checked_columns(paths[0], records.read(paths[0]), lambda held: wanted)
    by_user = frame.sort_values("user_id")
    np.testing.assert_array_equal(checked["ndcg@10"], by_user["ndcg@10"])
    assert checked["user_id"].tolist() == by_user["user_id"].tolist()


ODD = [
    (lambda table: table.drop_columns("user_id"), "has no column 'user_id'"),
    (lambda table: replaced(table, "user_id", range(200)), "column 'user_id' holds int64"),
    (lambda table: replaced(table, "user_id", [None, *map(str, range(199))]), "1 row without a user"),
    (lambda table: replaced(table, "ndcg@10", ["x"] * 200), "column 'ndcg@10'"),
    (lambda table: pa.concat_tables([table, table]).slice(0, 201), "column 'user_id' is not what"),
    (lambda table: pa.table([*table.columns, table["hr@10"]], [*table.column_names, "hr@10"]), "two columns of one"),
]


def replaced(table, name, values):
    return table.set_column(table.column_names.index(name), name, [list(values)])


@pytest.mark.parametrize(("change", "message"), ODD)
def test_a_file_that_no_run_has_written_is_named_and_its_row_is_not_ranked(write_cell, change, message):
    (path, other) = write_cell("sasrec", "captions", "gate")
    second = write_cell("sasrec", "id", "id")
    pq.write_table(change(pq.read_table(path.with_suffix(".parquet"))), path.with_suffix(".parquet"))
    board = leaderboard.build([path, other, *second])
    assert [row.label for row in board.rows] == ["sasrec id id"]
    assert message in board.unranked[0].reason and str(path.with_suffix(".parquet")) in board.unranked[0].reason


def test_text_in_place_of_a_metric_is_refused_whatever_the_record_says_of_it(write_cell):
    (path, *rest) = write_cell("sasrec", "id", "id")
    frame = records.users(path).assign(**{"ndcg@10": "x"})
    records.write(path.parent, records.read(path), frame)
    (row,) = leaderboard.build([path, *rest]).unranked
    assert "column 'ndcg@10' holds object" in row.reason


def test_a_user_that_is_twice_in_a_record_is_named(write_cell):
    (path, *rest) = write_cell("sasrec", "id", "id")
    frame = records.users(path)
    records.write(path.parent, records.read(path), pd.concat([frame, frame.iloc[:1]]))
    with pytest.raises(BenchError, match=r"row sasrec id id: user 'u0' of fold 0"):
        leaderboard.build([path, *rest])


def test_a_folder_in_place_of_a_file_is_named(write_cell):
    (path, *_) = write_cell("sasrec", "id", "id")
    path.with_suffix(".parquet").unlink()
    path.with_suffix(".parquet").mkdir()
    for read in (records.users, records.columns):
        with pytest.raises(DataError, match=path.stem):
            read(path)
