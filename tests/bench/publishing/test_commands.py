"""Commands that packs and board pages print: they run as printed."""

import json
import shlex

import numpy as np
import pytest

import bench as api
from bench import records, registry
from bench.boards import leaderboard
from bench.publishing import pack_check, packs, page, rerun, submit
from protocols.errors import UserError
from protocols.progress import Quiet

FILE = "my vectors.npy"


@pytest.fixture(scope="module")
def home(tiny_world, tmp_path_factory):
    """Folder of a run of rows whose features come from files in another folder, and its pack."""
    home = tmp_path_factory.mktemp("commands")
    items = registry.load("dataset", "tiny").dataset.items.index
    (home / "files").mkdir()
    np.save(home / "files" / FILE, np.random.default_rng(0).normal(size=(len(items), 4)).astype(np.float32))
    (home / "files" / "my vectors.ids.txt").write_text("\n".join(items))
    extractors = [f"published:{home / 'files' / FILE}"]
    extractors.append(f"shuffled:{extractors[0]}")
    api.grid(
        ["content-mean"], extractors, fusions=["replace"], dataset="tiny", options={"protocol": {"folds": 1}},
        seeds=1, jobs=1, cache=home / "cache", results=home / "results",
    )  # fmt: skip
    submit.submit(home / "results", home / "pack.zip", "bench submit")
    names = registry.names
    with pytest.MonkeyPatch.context() as patch:  # commands look its name up among entry points
        patch.setattr(registry, "names", lambda kind: {**names(kind), **({"tiny": None} if kind == "dataset" else {})})
        yield home


def test_the_command_of_a_row_of_a_file_makes_it_again_in_the_folder_of_the_file(home, bench, monkeypatch):
    monkeypatch.chdir(home / "files")
    (board,) = json.loads(packs.read(home / "pack.zip")[packs.MANIFEST])["boards"]
    assert len(board["rows"]) == 2
    for row in board["rows"]:
        words = shlex.split(row["command"])[1:]
        assert any(word.endswith(f"published:{FILE}") for word in words) and str(home) not in row["command"]
        done = bench(*words, "--cache", home / "cache", "--results", home / "again", "--jobs", "1")
        assert done.exit_code == 0, done.stderr
    assert {path.parent.name + path.stem for path in records.find(home / "again")} == {
        path.parent.name + path.stem for path in records.find(home / "results")
    }


def test_a_rerun_asks_for_the_file_and_takes_it_from_another_folder(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = pack_check.check(home / "pack.zip").entries
    for names in rerun.drawn(entries, 2, 0):
        with pytest.raises(UserError, match=f"made from the file {FILE}, which is not here") as caught:
            rerun.rerun(entries, names, tmp_path, {}, Quiet())
        assert caught.value.remedy == f"--set 'published.path=FOLDER/{FILE}'"
        places = {"published": {"path": str(home / "files" / FILE)}}
        made = rerun.rerun(entries, names, home / "cache", places, Quiet())
        assert made and all(one.ok for one in made)


def test_local_records_know_the_place_of_the_file(home):
    from bench.runs import restore

    for path in records.find(home / "results"):
        wanted = restore.request(records.read(path), home / "cache", home / "results")
        assert wanted.rows[0].extractor.endswith(f"published:{home / 'files' / FILE}")


def test_a_page_says_how_a_row_of_a_file_is_named_and_which_options_of_the_data_are_not_the_usual_ones(home):
    (board,) = leaderboard.boards(home / "results")
    assert "`--extractor published:NAME` in its folder" in page.reproduction(board)
    board.facts |= {"dataset": "demo", "dataset_options": {"clips": 800, "content_weight": 0.0}, "seeds": [1, 3]}
    command = "`bench run --dataset demo --protocol rolling-7d --set demo.content_weight=0.0 --seeds 1,3,`"
    assert command in page.reproduction(board)
