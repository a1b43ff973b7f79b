"""Pairs of rows that a file of cells wants compared."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench import records
from bench.boards import compare, contrasts, lookup
from bench.boards.cell_results import read_cells
from bench.cli import cli
from bench.runs.cell_files import PRESETS, read_grid
from feature_extractors.store.lance import FeatureStore, Row
from feature_extractors.text.sound_windows import Tag, TaggedWindow, dump
from protocols.errors import UserError
from protocols.features import FeatureSpace


@pytest.fixture
def with_ranks(write_cell):
    """A function that writes a cell whose records hold two targets a user, with durations of 2 s and 4 s."""

    def write(extractor, lift, **more):
        paths = write_cell("sasrec", extractor, "gate", seeds=(1, 2, 3, 4, 5), lift=lift, **more)
        for path in paths:
            users = records.users(path)
            n = len(users)
            rng = np.random.default_rng(len(users))
            rank = np.maximum(1, rng.integers(1, 20, (n, 2)) - round(40 * lift))
            rank[:, 1] += rank[:, 1] == rank[:, 0]
            columns = {
                "n_targets": np.full(n, 2),
                "n_lists": np.ones(n, dtype=int),
                "n_history": rng.integers(1, 50, n),
                "target": [["a", "b"]] * n,
                "target_events": [np.array([3, 4], dtype=np.int32)] * n,
                "target_rank": list(rank.astype(np.int32)),
                "target_rank_warm": list(rank.astype(np.int32)),
                "target_duration": [np.array([2, 4], dtype=np.float32)] * n,
            }
            users.assign(**columns).to_parquet(path.with_suffix(".parquet"))
        return paths

    return write


def test_the_report_is_that_of_bench_compare(with_ranks, tmp_path):
    paths = [*with_ranks("captions", 0.0), *with_ranks("titles", 0.1)]
    wanted = contrasts.read([{"a": "titles", "b": "captions", "short": 3}], "x.yaml")
    (report,) = contrasts.reports(wanted, paths, tmp_path)
    runs = lookup.choose("titles", "captions", read_cells(paths))
    assert report.as_json() == compare.compare_slices(*runs, short=3).as_json()
    parts = {line.part.partition(" (")[0] for line in report.lines}
    assert {"clip duration: <= 3 s", "clip duration: > 3 s"} <= parts
    (usual,) = contrasts.reports(contrasts.read([{"a": "titles", "b": "captions"}], "x.yaml"), paths, tmp_path)
    assert not any("> 30 s" in line.part for line in usual.lines)


def test_what_cannot_be_compared_is_a_line_and_costs_nothing_else(with_ranks, tmp_path):
    paths = [*with_ranks("captions", 0.0), *with_ranks("titles", 0.1)]
    asked = [
        {"a": "clip", "b": "titles"},
        {"a": "titles", "b": "captions", "audio_heavy": "sound-tags.windows"},
        {"a": "titles", "b": "captions"},
    ]
    missing, untold, there = contrasts.reports(contrasts.read(asked, "x.yaml"), paths, tmp_path)
    assert missing.startswith("clip and titles are not compared: no run 'clip'")
    assert "unknown feature space 'sound-tags.windows'" in untold
    assert there.lines
    assert contrasts.reports([], paths, tmp_path) == []


def test_of_several_stored_tags_those_count_that_the_rows_were_made_from(with_ranks, tmp_path):
    music = dump([TaggedWindow(0, 10, [Tag("a harp", "music", 0.5)])])
    made = []
    for checkpoint, loud in (("pocket", "a"), ("random", "b")):
        tags = FeatureSpace("sound-tags.windows", 1, "text", {"classes": [["a harp", "music"]], "made": checkpoint})
        vectors = FeatureSpace("av-captions.vector", 1, "vector", {"parents": [tags.id]})
        for space, value in ((tags, music), (vectors, np.ones(2, np.float32))):
            store = FeatureStore(tmp_path / "features", space)
            store.describe()
            other = "b" if loud == "a" else "a"
            store.add([Row(loud, "1", "ok", "", 0.1, value), Row(other, "2", "empty", "silence", 0.1, None)])
            store.commit()
        made.append(vectors.id)
    paths = [*with_ranks("captions", 0.0), *with_ranks("av-captions", 0.1, features={"space": made[0]})]
    entry = {"a": "av-captions", "b": "captions", "audio_heavy": "sound-tags.windows"}
    (report,) = contrasts.reports(contrasts.read([entry], "x.yaml"), paths, tmp_path)
    heavy = {"a": True, "b": False}
    runs = lookup.choose("av-captions", "captions", read_cells(paths))
    assert report.as_json() == compare.compare_slices(*runs, audio_heavy=heavy).as_json()
    assert report.as_json() != compare.compare_slices(*runs, audio_heavy={"a": False, "b": True}).as_json()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("a b", "must be a list"),
        (["a b"], "must be a list"),
        ([{"a": "x", "c": "y"}], "key of x.yaml: contrasts"),
        ([{"a": "x"}], "two rows, a and b"),
        ([{"a": "x", "b": "y", "short": "long"}], "two rows, a and b"),
        ([{"a": "x", "b": "y", "short": 0}], "above 0 seconds"),
    ],
)
def test_what_is_no_contrast_is_refused_with_the_file(entries, said):
    with pytest.raises(UserError, match=said) as caught:
        contrasts.read(entries, "x.yaml")
    assert "x.yaml" in str(caught.value)


def test_every_preset_names_rows_that_it_has():
    found = 0
    for path in PRESETS.glob("*.yaml"):
        content, rows = read_grid(path)
        names = {"/".join((row.model, row.extractor, row.fusion)) for row in rows}
        for contrast in contrasts.read(content.get("contrasts", []), path.name):
            assert {contrast.a, contrast.b} <= names
            found += 1
    assert found


def test_a_run_ends_with_its_contrasts(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "rows: [{model: pop}, {model: itemknn}]\n"
        "set: {demo: {clips: 60, users: 80, interactions: 1600}}\n"
        "contrasts: [{a: itemknn, b: pop, short: 3}, {a: itemknn, b: sasrec}]\n"
    )
    folders = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    told = CliRunner().invoke(cli, ["run", "--config", str(config), *folders, "--jobs", "1"])
    assert told.exit_code == 0, told.output
    assert "(3.125 to 3.875)" in told.output
    assert "itemknn and sasrec are not compared: no run 'sasrec'" in told.output
    again = CliRunner().invoke(cli, ["run", "--config", str(config), *folders, "--json"])
    content = json.loads(again.stdout)["run"]
    assert content["contrasts"][0]["rows"][0]["a"] == "itemknn"
    assert content["contrasts"][1].startswith("itemknn and sasrec are not compared")
    grid = tmp_path / "grid.yaml"
    grid.write_text(config.read_text())
    planned = CliRunner().invoke(cli, ["grid", str(grid), *folders])
    assert planned.exit_code == 0, planned.output
    assert "(3.125 to 3.875)" in planned.output
