"""`bench data prepare|check|show`: what is found, what is off, and with which exit code."""

import hashlib
import json
import shlex

import av
import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.data import data, parse_words
from bench.diagnostics.data_report import next_commands
from bench.registry import create
from protocols.errors import UserError
from protocols.progress import Quiet

T = 1_700_000_000_000


def clip(path, frames=4):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            picture = np.full((32, 32, 3), 40 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    rows = [f"{u},{i},{T + u * 86_400_000}" for u in range(12) for i in range(u % 3 + 1)]
    (folder / "MicroLens-50k_pairs.csv").write_text("\n".join(["user,item,timestamp", *rows, rows[0]]))
    (folder / "MicroLens-50k_titles.csv").write_text("0,zero\n1,one\n2,two\n3,nobody's\n")
    for item in range(4):
        clip(folder / "videos" / f"{item}.mp4")
    return folder


@pytest.fixture
def run(tmp_path):
    def run(*words):
        done = CliRunner().invoke(data, [*words, "--cache", str(tmp_path / "cache")], standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.return_value or 0, done.output

    return run


@pytest.fixture
def microlens(root):
    return ["microlens", "--size", "50k", "--root", str(root)]


@pytest.fixture
def _known(root, monkeypatch):
    pairs = hashlib.sha256((root / "MicroLens-50k_pairs.csv").read_bytes()).hexdigest()
    titles = hashlib.sha256((root / "MicroLens-50k_titles.csv").read_bytes()).hexdigest()
    hashes = {"MicroLens-50k_pairs.csv": pairs[:16], "MicroLens-50k_titles.csv": titles[:8]}
    monkeypatch.setattr("protocols.datasets.microlens.HASHES", hashes)
    counts = {"50k": {"users": 12, "items": 3, "interactions": 25}}
    monkeypatch.setattr("protocols.datasets.microlens.COUNTS", counts)


def test_prepare_says_what_it_found_and_what_to_run_next(run, microlens, root):
    (root / "videos" / "3.mp4").unlink()
    code, out = run("prepare", *microlens)
    assert code == 0
    assert "12 users, 4 items, 24 interactions" in out and "1 exact duplicate dropped" in out
    assert "from 2023-11-14 22:13:20 to 2023-11-25 22:13:20 UTC" in out
    assert "1 of 4 items have no video: 3" in out
    assert "likes_and_views.txt: not found" in out
    check, train, board = out.rstrip().split("next:\n")[1].splitlines()
    assert check.split()[:-2] == ["bench", "data", "check", *microlens] and check.split()[-2] == "--cache"
    assert f"--set microlens.root={root}" in train and "--extractor captions --model sasrec" in train
    assert board.split() == ["bench", "leaderboard", "--dataset", "microlens"]


@pytest.mark.usefixtures("_known")
def test_check_passes_when_everything_matches(run, microlens):
    code, out = run("check", *microlens)
    assert code == 0, out
    assert "7 of 7 checks passed" in out and "OFF" not in out
    assert "research only" in out and "arXiv:2309.15379" in out


@pytest.mark.usefixtures("_known")
def test_check_names_missing_and_broken_videos(run, microlens, root):
    (root / "videos" / "0.mp4").write_bytes(b"")
    (root / "videos" / "1.mp4").write_bytes(b"no video at all" * 100)
    (root / "videos" / "2.mp4").unlink()
    code, out = run("check", *microlens)
    assert code == 1
    assert "OFF  videos there: 3; missing: 2, expected 4" in out
    line = next(line for line in out.splitlines() if "videos that open" in line)
    assert line.startswith("OFF  videos that open: 1; broken: 0 (0.mp4") and "1 (1.mp4" in line
    assert "5 of 7 checks passed" in out


@pytest.mark.usefixtures("_known")
def test_check_finds_a_changed_file(run, microlens, root):
    with (root / "MicroLens-50k_pairs.csv").open("a") as handle:
        handle.write(f"\n12,0,{T}\n")
    code, out = run("check", *microlens, "--media", "1", "--json")
    found = {f["what"]: f for f in json.loads(out)["findings"]}
    assert code == 1
    assert {what for what, f in found.items() if f["ok"] is False} == {
        "MicroLens-50k_pairs.csv sha256",
        "users",
        "interactions",
    }
    assert found["videos that open"]["found"] == "1"


def test_show_prints_quantiles_columns_card_and_fingerprint(run, microlens, root):
    code, out = run("show", *microlens)
    assert code == 0
    dataset = create("dataset", "microlens", {"microlens": {"size": "50k", "root": str(root)}}).load(root, Quiet())
    for words in (
        dataset.fingerprint,
        "1 item without interactions",
        "interactions of a user: 0% 1, 25% 1, 50% 2",
        "interactions of an item: 0% 4",
        "column title: 4 of 4",
        "column video: 4 of 4",
        "whole period",
    ):
        assert words in out
    shown = json.loads(run("show", *microlens, "--json")[1])
    assert shown["fingerprint"] == dataset.fingerprint and shown["period"][0] == "2023-11-14 22:13:20"
    assert shown["per_item"]["100%"] == 12 and shown["duplicates_dropped"] == 1


def test_options_after_the_name_equal_sets(run, microlens, root):
    sets = ["microlens", "--set", "microlens.size=50k", "--set", f"microlens.root={root}"]
    assert run("show", *sets, "--json") == run("show", *microlens, "--json")
    assert json.loads(run("show", *microlens, "--users", "5", "--seed=2", "--json")[1])["users"] == 5


def test_next_commands_fit_the_data(root, tmp_path):
    log = tmp_path / "my log.csv"
    log.write_text(f"user_id,item_id,timestamp\nu,a,{T}\n")
    options = {"csv": {"interactions": str(log), "time_unit": "ms"}}
    dataset = create("dataset", "csv", options).load(tmp_path, Quiet())
    check, train, _ = next_commands(dataset, "csv", options["csv"])
    assert check == f"bench data check csv --interactions '{log}' --time-unit ms"
    assert "--extractor id " in train and f"'csv.interactions={log}'" in train
    (root / "MicroLens-50k_pairs.tsv").write_text("1\t0 1 2\n")
    options = {"microlens": {"size": "50k", "root": str(root), "pairs": "tsv"}}
    dataset = create("dataset", "microlens", options).load(tmp_path, Quiet())
    assert "--protocol microlens-loo" in next_commands(dataset, "microlens", options["microlens"])[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["microlens", "--sise", "50k"], "did you mean 'size'"),
        (["microlenz"], "did you mean 'microlens'"),
        (["microlens", "--size"], "--size needs a value"),
        (["microlens", "--size", "--root", "x"], "--size needs a value"),
        (["microlens", "ml-100k"], "one dataset at a time"),
        (["microlens", "--size", "50k", "100k"], "microlens.size=['50k', '100k']"),
        (["microlens", "--size", "50k", "--users", "many"], "microlens.users='many'"),
        (["csv"], "csv"),
    ],
)
def test_mistakes_are_user_errors(run, words, says):
    for command in ("prepare", "check", "show"):
        with pytest.raises(UserError) as caught:
            run(command, *words)
        assert says in str(caught.value) and caught.value.exit_code == 2


def test_several_files_of_one_log(run, tmp_path):
    for at in range(2):
        (tmp_path / f"{at}.csv").write_text(f"user_id,item_id,timestamp\nu{at},a,{T}\n")
    files = [str(tmp_path / f"{at}.csv") for at in range(2)]
    code, out = run("prepare", "files", "--interactions", *files)
    assert code == 0 and "2 users, 1 item, 2 interactions" in out
    check, train, _ = out.rstrip().split("next:\n")[1].splitlines()
    assert check.split()[:-2] == ["bench", "data", "check", "files", "--interactions", *files]
    sets = shlex.split(train)[shlex.split(train).index("--set") :][:2]
    assert run("show", "files", *sets) == run("show", "files", "--interactions", *files)


def test_words_without_a_name_mean_the_demo():
    assert parse_words(["--clips", "8"]) == ("demo", {"clips": "8"})
    assert parse_words(["csv", "--time-unit=s", "--title", "-x"]) == ("csv", {"time_unit": "s", "title": "-x"})
    assert parse_words(["--dataset", "csv", "--title", "name"]) == ("csv", {"title": "name"})


def test_options_without_a_dataset_are_answered_with_its_place():
    failed = CliRunner().invoke(data, ["check", "--interactions", "log.csv"])
    assert "demo.interactions" in str(failed.exception)
    assert "no dataset was named" in str(failed.exception) and "NAME first" in failed.exception.remedy
    missing = CliRunner().invoke(data, ["check", "--dataset", "csv"])
    assert "dataset 'csv' needs a file of interactions" in str(missing.exception)
