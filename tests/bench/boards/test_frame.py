"""Records as a tidy frame."""

import json
import subprocess
import sys

import numpy as np
import pytest

import bench
from bench import records
from bench.boards import frame


def test_one_row_a_record_with_what_the_record_says(write_cell, tmp_path):
    features = {"space": "s-v1-abc", "coverage": 0.9, "bytes_per_item": 512, "provenance": {"checkpoints": ["a", "b"]}}
    write_cell("sasrec", "captions", "gate/softmax", seeds=(1, 2), features=features, metrics={"ndcg@10": 0.2})
    write_cell("pop", "-", "-", seeds=(0,), metrics={"ndcg@10": 0.1, "ndcg@10_cold": None})
    found = bench.load_results(tmp_path)
    assert list(found)[: len(frame.COLUMNS)] == list(frame.COLUMNS)
    assert len(found) == 6
    row = found[found["model"] == "sasrec"].iloc[0]
    assert (row["fusion"], row["layers"], row["checkpoints"], row["coverage"]) == (
        "gate/softmax",
        "softmax",
        "a + b",
        0.9,
    )
    assert row["ndcg@10"] == 0.2
    other = found[found["model"] == "pop"].iloc[0]
    assert np.isnan(other["coverage"])  # unknown, not 0
    assert np.isnan(other["ndcg@10_cold"])
    assert records.users(tmp_path / row["path"])["user_id"].nunique() == 200
    assert found["metric_fingerprint"].nunique() == 1


def test_filters_and_replaced_records(write_cell, tmp_path):
    path = write_cell("sasrec", "id", "id", folds=1)[0]
    content = json.loads(path.read_text())
    content["key"] = "newer"
    (path.parent / "s1-f0-newer.json").write_text(json.dumps(content))
    assert list(bench.load_results(tmp_path)["path"]) == [str(path.parent / "s1-f0-newer.json")]
    every = bench.load_results(tmp_path, newest=False)
    assert sorted(every["newest"]) == [False, True]
    assert bench.load_results(tmp_path, dataset="another").empty


def test_a_record_older_than_the_field_is_of_the_first_version_of_the_metrics(write_cell):
    path = write_cell("sasrec", "id", "id", folds=1)[0]
    content = json.loads(path.read_text())
    del content["metrics_version"]
    path.write_text(json.dumps(content))
    assert records.read(path).metrics_version == 1


def test_importing_bench_imports_no_pandas():
    code = "import bench, sys; assert not {'pandas', 'torch'} & set(sys.modules); bench.load_results"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'results'"):
        bench.results  # noqa: B018
