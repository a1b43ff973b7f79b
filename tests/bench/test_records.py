"""Records on disk."""

import json
import os

import numpy as np
import pytest

from bench import records
from protocols.errors import DataError


def test_a_record_comes_back_as_it_was(write_cell):
    path = write_cell("sasrec", "captions", "gate")[0]
    record = records.read(path)
    assert record.cell["extractor"] == "captions"
    assert (
        records.Cell(**record.cell).id
        == records.Cell("toy", "rolling-7d", "sasrec", "captions", "gate", {"model": {"dim": 8}}).id
    )
    assert len(records.users(path)) == 200


def test_hostile_names_stay_inside_the_results_folder(tmp_path):
    cell = records.Cell("../../etc", "p/q", "m\x00", "shuffled:../x", "gate")
    assert (tmp_path / cell.folder).resolve().is_relative_to(tmp_path.resolve())
    assert len(cell.folder.parts) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1}'])
def test_a_broken_record_is_named(tmp_path, content):
    path = tmp_path / "s1-f0-x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"s1-f0-x\.json"):
        records.read(path)


def test_newest_of_two_runs_of_one_cell_wins(write_cell, tmp_path):
    first, *_ = write_cell("sasrec", "captions", "gate", folds=1)
    record = records.read(first)
    record.key = "other"
    second = records.write(first.parent, record, records.users(first))
    os.utime(first, (1, 1))
    assert list(records.newest(records.read_all(tmp_path))) == [second]


def test_one_cell_on_two_boards_is_two_results(write_cell, tmp_path):
    """Two logs in files of their own: the cell does not hold the places, the board holds the content."""
    first, *_ = write_cell("sasrec", "captions", "gate", folds=1)
    record = records.read(first)
    record.key, record.board = "other", "of another log"
    second = records.write(first.parent, record, records.users(first))
    assert set(records.newest(records.read_all(tmp_path))) == {first, second}


def test_when_files_were_written_orders_nothing(write_cell):
    paths = write_cell("sasrec", "captions", "gate", seeds=(1, 2))
    kept = []
    for step in (1, -1):
        for at, path in enumerate(paths[::step]):
            os.utime(path, (at, at))
        kept.append(list(records.newest({path: records.read(path) for path in paths})))
    assert kept[0] == kept[1]
    assert [(found.seed, found.fold) for found in map(records.read, kept[0])] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_records_hold_no_nan(write_cell):
    curve = [{"epoch": np.int64(1), "loss": np.float32("nan")}, {"epoch": 2, "loss": float("inf")}]
    path = write_cell("sasrec", "captions", "gate", training={"refit_curve": curve})[0]
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert records.read(path).training["refit_curve"] == [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": None}]


@pytest.mark.parametrize("name", ["..", ".", "", "..."])
def test_no_name_of_dots_is_a_folder_above(tmp_path, name):
    folder = records.Cell(name, name, "pop", "-", "-").folder
    assert len(folder.parts) == 3
    assert (tmp_path / folder).resolve() == tmp_path / folder


def test_every_field_of_a_record_is_documented():
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(records.Record)).body[0]
    body = tree.body[1:]
    fields = [i for i, node in enumerate(body) if isinstance(node, ast.AnnAssign)]
    assert len(fields) > 15
    for i in fields:
        following = body[i + 1]
        assert isinstance(following, ast.Expr), ast.unparse(body[i])
        assert isinstance(following.value, ast.Constant), ast.unparse(body[i])
