"""Per-user files that are not those of their records."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bench import records
from bench.boards import leaderboard
from bench.publishing import publish
from protocols.errors import DataError


@pytest.fixture
def rows(write_cell, tmp_path):
    """Paths of two rows, the results folder as environment, and a published table."""
    first = write_cell("sasrec", "id", "id")
    second = write_cell("sasrec", "captions", "gate", lift=0.05)
    return first, second, {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}


def swap(rows):
    """Put the per-user file of one row in place of another's."""
    (mine, *_), (other, *_), _ = rows
    shutil.copy(other.with_suffix(".parquet"), mine.with_suffix(".parquet"))


def edit(rows):
    """Raise the value of one user."""
    (mine, *_), _, _ = rows
    users = records.users(mine)
    users.loc[0, "ndcg@10"] += 0.01
    users.to_parquet(mine.with_suffix(".parquet"), index=False)


def rename(rows):
    """Give one user the name of nobody."""
    (mine, *_), _, _ = rows
    users = records.users(mine)
    users.loc[0, "user_id"] = "someone"
    users.to_parquet(mine.with_suffix(".parquet"), index=False)


def remove(rows):
    """Delete the file."""
    rows[0][0].with_suffix(".parquet").unlink()


@pytest.mark.parametrize("change", [swap, edit, rename, remove])
def test_a_changed_file_is_named_and_its_row_is_not_ranked(rows, bench, tmp_path, change):
    path, env = rows[0][0], rows[2]
    table = tmp_path / "table.md"
    table.write_text(bench("leaderboard", env=env).stdout)
    assert bench("verify-table", table, env=env).exit_code == 0
    assert bench("show", "sasrec/id", env=env).exit_code == 0
    change(rows)
    (board,) = leaderboard.boards(tmp_path / "toy")
    assert [row.label for row in board.rows] == ["sasrec captions gate"]
    assert str(path.with_suffix(".parquet")) in board.unranked[0].reason
    for words in (["show", "sasrec/id"], ["verify-table", table]):
        done = bench(*words, env=env)
        assert done.exit_code == 1
        assert path.with_suffix(".parquet").name in done.stdout
    with pytest.raises(DataError, match=path.stem):
        publish.publish(tmp_path / "toy", tmp_path / "boards")


def test_a_record_without_hashes_is_held_to_its_means_and_keeps_its_table_id(rows, tmp_path):
    path = rows[0][0]
    record = replace(records.read(path), users_digest={}, metrics={"ndcg@10": 0.9, "n_users": 200})
    records.write(path.parent, record)
    (board,) = leaderboard.boards(tmp_path / "toy")
    assert "the record says 0.900000" in board.unranked[0].reason
    old = {**json.loads(path.read_text())}
    del old["users_digest"]
    path.write_text(json.dumps(old))
    assert leaderboard.table_id([records.read(path)]) == leaderboard.table_id([record])
    assert leaderboard.table_id([record]) != leaderboard.table_id([replace(record, users_digest={"ndcg@10": "0"})])


def test_a_published_copy_keeps_the_id_of_the_table(rows, tmp_path):
    copies = publish.publish(tmp_path / "toy", tmp_path / "boards")
    assert not records.mismatches({path: records.read(path) for path in copies})
    ids = [leaderboard.table_id(map(records.read, paths)) for paths in (rows[0] + rows[1], copies)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_compacting_changes_no_hash_and_any_value_does(rows, kind):
    users = records.users(rows[0][0])[["ndcg@10", "ndcg@10_cold"]].astype(kind)
    known = records.column_digests(users)
    assert known == records.column_digests(users.astype("float32"))
    users.loc[3, "ndcg@10"] += 1e-4
    assert records.column_digests(users)["ndcg@10"] != known["ndcg@10"]
