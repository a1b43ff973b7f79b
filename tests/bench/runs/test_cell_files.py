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
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.fixture
def request_of(bench, monkeypatch, tmp_path):
    """The request that a command would run."""
    folders = {"BENCH_CACHE": str(tmp_path / "c"), "BENCH_RESULTS": str(tmp_path / "r")}

    def request_of(*words):
        seen = []

        def run(request, progress):
            seen.append(request)
            raise UserError("enough")

        monkeypatch.setattr("bench.runs.run.run", run)
        done = bench("run", *words, env=folders)
        assert seen, done.output
        return seen[0]

    return request_of


def same(one, other):
    return {**vars(one), "passed": None} == {**vars(other), "passed": None}


def test_a_config_takes_every_option_and_the_command_line_wins(request_of, tmp_path):
    words = [
        "--extractor", "captions", "--model", "sasrec", "--fusion", "add", "--seeds", "2", "--dataset", "demo",
        "--protocol", "daily-7", "--checkpoint", "random", "--text-encoder", "pocket", "--prompt", "describe",
        "--frames", "uniform:4", "--dtype", "float32", "--jobs", "1", "--device", "cpu", "--no-controls",
        "--set", "sasrec.dim=32", "--cache", str(tmp_path / "c2"), "--results", str(tmp_path / "r2"),
    ]  # fmt: skip
    typed = request_of(*words)
    content = {
        "extractor": "captions", "model": "sasrec", "fusion": "add", "seeds": 2, "dataset": "demo", "json": True,
        "protocol": "daily-7", "checkpoint": "random", "text_encoder": "pocket", "prompt": "describe",
        "frames": "uniform:4", "dtype": "float32", "jobs": 1, "device": "cpu", "controls": False,
        "set": {"sasrec": {"dim": "32"}}, "cache": str(tmp_path / "c2"), "results": str(tmp_path / "r2"),
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert same(request_of("--config", path), typed)
    over = request_of("--config", path, "--frames", "uniform:2", "--set", "captions.prompt=other", "--seeds", "1")
    assert over.options["captions"]["frames"] == "uniform:2" and over.options["captions"]["prompt"] == "other"
    assert over.seeds == [1]


def test_a_saved_config_does_the_same(request_of, tmp_path):
    saved = tmp_path / "saved.yaml"
    words = ["--extractor", "titles", "--text-encoder", "random", "--set", "protocol.folds=2", "--no-controls"]
    typed = request_of(*words, "--save-config", saved)
    assert same(request_of("--config", saved), typed)
    preset = request_of("--preset", "demo-dose", "--seeds", "3", "--save-config", saved)
    assert same(request_of("--config", saved), preset)
