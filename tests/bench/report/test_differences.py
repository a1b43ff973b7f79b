"""Users whom one run serves and another fails, and the page that shows them."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from bench import records, registry
from bench.boards import lookup
from bench.boards.cell_results import read_cells
from bench.cli.diff import diff as command
from bench.report import clips, differences
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from feature_extractors.base import ItemSource
from feature_extractors.store import catalogue
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import DataError, UserError
from protocols.features import FeatureSpace
from protocols.progress import Quiet


def lists(hits, depth=10):
    """Per-user frame in which user k finds its target at rank 1 where `hits[k]`, else at rank 50."""
    rows = []
    for at, hit in enumerate(hits):
        top = [f"i{at:03d}" if hit and place == 0 else f"x{place}" for place in range(depth)]
        rank = 1 if hit else 50
        rows.append((f"u{at:03d}", float(hit), (1.0 + at / 100) * hit, top, [f"i{at:03d}"], [rank]))
    return pd.DataFrame(rows, columns=differences.COLUMNS)


@pytest.fixture
def pair(write_cell, tmp_path):
    """A function that writes two runs, each with one frame of lists a seed, and returns them."""

    def pair(hits_a, hits_b):
        for extractor, seeds in (("captions", hits_a), ("id", hits_b)):
            for seed, hits in enumerate(seeds, 1):
                path = write_cell("sasrec", extractor, "gate", seeds=(seed,), folds=1)[0]
                lists(hits).to_parquet(path.with_suffix(".parquet"))
        among = read_cells(records.find(tmp_path))
        return lookup.choose("captions", "id", among)

    return pair


def test_examples_are_those_that_every_seed_agrees_on_largest_difference_first(pair):
    a, b = pair([[1, 1, 1, 0, 1], [1, 1, 1, 0, 0]], [[0, 0, 1, 1, 0]])
    found, counts = differences.find(a, b, 10)
    assert [example.user for example in found] == ["u001", "u000"]  # u004 is served under one seed only
    assert (counts.a_only, counts.b_only, counts.both, counts.neither, counts.mixed) == (2, 1, 1, 0, 1)
    assert counts.all == 5
    first = found[0]
    assert (first.targets, first.a.ranks, first.b.ranks) == (["i001"], [1], [50])
    assert first.a.top[0] == "i001"
    assert first.b.top[0] == "x0"
    assert first.a.ndcg == pytest.approx(1.01)
    assert len(differences.find(a, b, 1)[0]) == 1
    assert "Of 5 users and folds: 2 served by sasrec captions gate alone" in differences.sentence(
        counts, a.label, b.label
    )


def test_compact_copies_are_refused_with_a_remedy(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    write_cell("sasrec", "id", "gate")
    a, b = lookup.choose("captions", "id", read_cells(records.find(tmp_path)))
    with pytest.raises(DataError, match="holds no column 'top'") as caught:
        differences.find(a, b, 10)
    assert "results/local" in caught.value.remedy


def test_frames_are_small_pictures_of_the_right_clips_and_what_cannot_be_shown_is_said(tmp_path, write_clip):
    write_clip(tmp_path / "red.mp4", (250, 0, 0))
    write_clip(tmp_path / "blue.mp4", (0, 0, 250))
    (tmp_path / "broken.mp4").write_bytes(b"no clip at all")
    names = ["blue", "broken", "gone", "none", "red"]
    videos = [None if name == "none" else tmp_path / f"{name}.mp4" for name in names]
    items = {name: clips.Item(name) for name in names}
    clips.add_frames(items, ItemSource(names, [None] * 5, videos), Quiet())
    for name, channel in (("red", 0), ("blue", 2)):
        data = base64.b64decode(items[name].frame.removeprefix("data:image/jpeg;base64,"))
        picture = Image.open(io.BytesIO(data))
        assert picture.size == (160, 80)
        assert np.asarray(picture).mean(axis=(0, 1)).argmax() == channel
    assert items["gone"].reason == "the clip is not on this machine"
    assert items["none"].reason == "no clip"
    assert items["broken"].frame == ""
    assert items["broken"].reason


def test_as_many_frames_as_a_policy_takes_and_as_large_as_asked_for(tmp_path, write_clip):
    write_clip(tmp_path / "red.mp4", (250, 0, 0))
    items = {"red": clips.Item("red")}
    clips.add_frames(items, ItemSource(["red"], [None], [tmp_path / "red.mp4"]), Quiet(), "uniform:4", side=100)
    assert len(items["red"].frames) == 4
    assert items["red"].frame == items["red"].frames[2]
    data = base64.b64decode(items["red"].frame.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(data)).size == (100, 50)


def test_a_stored_text_of_several_lines_becomes_one(tmp_path):
    space = FeatureSpace("captions.text", 1, "text", {"parents": []})
    store = FeatureStore(tmp_path, space)
    store.describe()
    store.add([Row("a", "c", "ok", "", 0.0, "one\n\ttwo \x1b[2J")])
    store.commit()
    items = {"a": clips.Item("a")}
    clips.add_texts(items, catalogue.find(tmp_path, space.id))
    assert items["a"].texts == {"captions.text": "one two \N{REPLACEMENT CHARACTER}[2J"}


HOSTILE = "</style><script>alert(1)</script>"


def test_the_command_writes_a_page_complete_in_itself(tiny_world, tmp_path, monkeypatch):
    plugin = registry.load("dataset", "tiny")
    titled = plugin.dataset.items.assign(title=[HOSTILE] * len(plugin.dataset.items))
    dataset = type(plugin.dataset).build("tiny", "1", plugin.dataset.interactions, titled)
    monkeypatch.setattr(plugin, "dataset", dataset)
    request = runs.Request(
        [RowSpec("pop"), RowSpec("recent-pop"), RowSpec("itemknn")],
        tmp_path / "cache",
        tmp_path / "results",
        "tiny",
        options={"rolling-7d": {"folds": 2}},
    )
    runs.run(request, Quiet())
    page = tmp_path / "diff.html"
    words = ["itemknn", "pop", "--examples", "3", "-o", str(page)]
    words += ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "3 examples" in done.stdout
    assert "No captions" in done.stdout
    content = page.read_text()
    assert HOSTILE not in content
    assert "&lt;script&gt;alert(1)" in content
    assert not re.search(r'(?:src|href)="(?!data:)', content)
    assert content.count("<article>") == 3
    user = re.search(r"User (\S+), fold (\d)", content)
    past = dataset.interactions[dataset.interactions["user_id"] == user[1]]
    found = lookup.choose("itemknn", "pop", read_cells(records.find(tmp_path / "results")))[0]
    border = next(r.fold_info["border"] for r in found.found.values() if r.fold == int(user[2]))
    before = (past["timestamp"] < pd.Timestamp(border).value // 10**6).sum()
    assert f"of {before}</h3>" in content


def test_runs_on_a_mount_that_cannot_be_written_are_compared(tiny_world, tmp_path, bench, read_only):
    rows = [RowSpec("pop"), RowSpec("itemknn")]
    runs.run(runs.Request(rows, tmp_path / "cache", tmp_path / "results", "tiny"), Quiet())
    env = {"BENCH_CACHE": str(tmp_path / "cache"), "BENCH_RESULTS": str(tmp_path / "results")}
    with read_only(tmp_path / "cache", tmp_path / "results"):
        done = bench("diff", "itemknn", "pop", "-o", str(tmp_path / "diff.html"), env=env)
    assert done.exit_code == 0, done.stderr


def test_other_data_than_the_records_are_refused(tiny_world, tmp_path, monkeypatch, simulate_dataset):
    rows = [RowSpec("pop"), RowSpec("itemknn")]
    runs.run(runs.Request(rows, tmp_path / "cache", tmp_path / "results", "tiny"), Quiet())
    monkeypatch.setattr(registry.load("dataset", "tiny"), "dataset", simulate_dataset(seed=9))
    words = ["itemknn", "pop", "--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    with pytest.raises(DataError, match="not the one of the records"):
        CliRunner().invoke(command, [*words, "-o", str(tmp_path / "x.html")], catch_exceptions=False)


def test_a_page_that_cannot_be_written_is_named(tiny_world, tmp_path):
    runs.run(runs.Request([RowSpec("pop"), RowSpec("itemknn")], tmp_path / "c", tmp_path / "r", "tiny"), Quiet())
    words = ["itemknn", "pop", "--cache", str(tmp_path / "c"), "--results", str(tmp_path / "r")]
    with pytest.raises(UserError, match="cannot write"):
        CliRunner().invoke(command, [*words, "-o", str(tmp_path / "absent" / "x.html")], catch_exceptions=False)
