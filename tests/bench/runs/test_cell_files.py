"""Files of cells whose values are not of the types that runs take."""

import json

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.runs import cell_files
from protocols.errors import UserError


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("dataset: null\nmodel: pop", "dataset: Input should be a valid string"),
        ("model: 2024", "model: Input should be a valid string"),
        ("rows: [{model: pop, extractor: [id]}]", "0.extractor: Input"),
        ("rows: [{model: pop, modle: pop}]", "0.modle: Extra"),
        ("set: {sasrec: null}\nmodel: pop", "set.sasrec"),
        ("seeds: 1000000000000\nmodel: pop", "seeds"),
        ("seeds: 0,1\nmodel: pop", "from 1 on"),
        ("jobs: 0\nmodel: pop", "jobs"),
        ("anchors: [{model: 3, metrics: {hr@10: 0.1}, source: x}]\nmodel: pop", "(model: Input"),
        ("contrasts: [{a: 1, b: 2}]\nmodel: pop", "(a: Input"),
    ],
)
def test_a_value_of_another_type_is_named(bench, tmp_path, content, says):
    path = tmp_path / "cells.yaml"
    path.write_text(content)
    done = bench("run", "--config", path, env={name: str(tmp_path) for name in ("BENCH_CACHE", "BENCH_RESULTS")})
    assert done.exit_code == 2
    assert says in done.stderr


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(cell_files.KEYS), VALUES, max_size=5))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_gives_a_request_or_an_error_of_ours(tmp_path, content):
    path = tmp_path / "cells.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        found = cell_files.read_config(None, path)
        rows = cell_files.rows_of(found)
        options = cell_files.options_of(found, ())
        cell_files.checks_of(found, str(path))
        request = cell_files.request_of(found, rows, options, str(tmp_path), str(tmp_path))
    except UserError:
        return
    json.dumps(request.passed)
