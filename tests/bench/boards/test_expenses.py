"""Measured costs of rows: in records, on boards, unknown where nothing was measured."""

import csv
import io
import json

import pytest

from bench import records
from bench.boards import leaderboard
from bench.tables import View, columns
from bench.tables.csv_text import csv_text
from protocols.errors import UserError
from protocols.resource_usage import Usage

HOUR = 3600.0
TRAINING = Usage(2 * HOUR, 3 * HOUR, 0, 5 * HOUR, 0.0).as_json()


def board(root):
    [made] = leaderboard.boards(root)
    return made, {row.extractor: row for row in made.rows}


def test_expenses_are_those_of_one_seed_and_of_all_items(write_cell, tmp_path):
    extraction = Usage(4 * HOUR, 8 * HOUR, 4 * HOUR, None, 7.0, items=10).as_json()
    write_cell("sasrec", "captions", "gate", seeds=(1, 2), usage={"training": TRAINING, "extraction": extraction})
    write_cell("sasrec", "id", "id", seeds=(1, 2))
    made, rows = board(tmp_path)
    found = {name: value for name, value in rows["captions"].costs.items() if name.endswith(("h", "-wh"))}
    assert found == {
        "extract-h": 4,
        "extract-cpu-h": 8,
        "extract-gpu-h": 4,
        "extract-wh": None,  # that of processors is unknown
        "train-h": 4,  # two folds
        "train-cpu-h": 6,
        "train-gpu-h": 0,
        "train-wh": 10,
    }
    assert all(rows["id"].costs[name] is None for name in found)
    head, body = columns.table(made, columns.chosen("cost"), made.rows)
    texts = dict(zip(head, body[made.rows.index(rows["captions"])], strict=True))
    assert (texts["extract Wh"], texts["train Wh"], texts["train CPU h"]) == ("-", "10", "6")
    lines = csv.DictReader(io.StringIO(csv_text([made], View())))
    assert {(line["extractor"], line["train_Wh"], line["extract_Wh"]) for line in lines} == {
        ("captions", "10.0", ""),
        ("id", "", ""),
    }


def test_records_before_the_field_are_read_and_damaged_ones_are_not(write_cell):
    path = write_cell("sasrec", "captions", "gate", folds=1)[0]
    content = json.loads(path.read_text())
    del content["usage"]
    path.write_text(json.dumps(content))
    assert records.read(path).usage == {}
    content["usage"] = {"training": {**TRAINING, "cpu_s": -1.0}}
    path.write_text(json.dumps(content))
    with pytest.raises(Exception, match="cpu_s"):
        records.read(path)


def test_a_group_of_columns_may_stand_among_others():
    names = columns.chosen("ranks, cost")
    assert names[:3] == ["ranks", "row", "score"] and "extract-wh" in names
    with pytest.raises(UserError, match="did you mean 'cost'"):
        columns.chosen("costs")
