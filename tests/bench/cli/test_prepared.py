"""Datasets under a name of their own: kept once, used by name, listed, shown and deleted."""

import json
import shlex

import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench import registry, settings
from bench.cli import cli
from protocols.datasets import prepared
from protocols.errors import UserError
from protocols.progress import Quiet

T = 1_700_000_000
DAY = 86_400


@pytest.fixture
def log(tmp_path):
    rows = [f"u{u},i{(u * 7 + k * 3) % 60},{T + k * 3 * DAY + u},{u % 5 + 1}" for u in range(20) for k in range(20)]
    path = tmp_path / "my log.csv"
    path.write_text("uid,vid,at,rating\n" + "\n".join(rows))
    return path


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))

    def call(*words):
        done = CliRunner().invoke(cli, list(words), standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.return_value or 0, done.output

    return call


def words_of(log):
    return "--interactions", str(log), "--user", "uid", "--item", "vid", "--timestamp", "at", "--where", "rating >= 2"


@pytest.fixture
def mine(call, log):
    return call("data", "prepare", "files", "--name", "mine", *words_of(log))


def test_a_name_is_enough_once_it_was_prepared(call, mine, log, tmp_path):
    code, out = mine
    assert code == 0 and "mine local" in out and "Interactions are the 320 of 400 rows with rating >= 2." in out
    log.unlink()  # the original file is not read again
    assert "16 users, 60 items, 320 interactions" in call("data", "check", "mine")[1]
    shown = call("data", "show", "mine")[1]
    assert "by: bench data prepare files --name mine --interactions" in shown and "times in s" in shown
    listed = json.loads(call("data", "list", "--json")[1])
    assert [one["name"] for one in listed] == ["mine"] and listed[0]["interactions"] == 320
    assert listed[0]["fingerprint"] == json.loads(call("data", "show", "mine", "--json")[1])["fingerprint"]


def test_other_data_under_a_name_are_said_to_replace_what_had_it(call, mine, log):
    again = call("data", "prepare", "files", "--name", "mine", *words_of(log))[1]
    other = call("data", "prepare", "files", "--name", "mine", *words_of(log)[:-1], "rating >= 4")[1]
    assert "Replaces" not in again
    assert "Replaces other data of this name, made by: bench data prepare files --name mine" in other


@pytest.mark.slow
def test_the_printed_commands_run_as_printed(call, log):
    frame = pd.read_csv(log)
    frame[frame["at"] < T + 25 * DAY].to_csv(log, index=False)
    commands = (
        call("data", "prepare", "files", "--name", "mine", *words_of(log))[1].rstrip().split("next:\n")[1].splitlines()
    )
    words = [shlex.split(line) for line in commands]
    assert [line[:3] for line in words] == [
        ["bench", "data", "check"],
        ["bench", "run", "--dataset"],
        ["bench", "leaderboard", "--dataset"],
    ]
    for line in words:
        code, out = call(*line[1:])
        assert code == 0, out
    assert "mine" in out and "sasrec" in out and "recent-pop" in out


def test_a_short_log_gets_a_run_command_that_fits(call, tmp_path):
    log = tmp_path / "short.csv"
    log.write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{k % 4},i{k // 4},{T + k * DAY // 4}\n" for k in range(60))
    )
    out = call("data", "prepare", "files", "--name", "short", "--interactions", str(log))[1]
    assert "bench run --dataset short --set protocol.folds=1 --extractor id" in out
    plugin = registry.create("protocol", "rolling-7d", {"rolling-7d": {"folds": 1}})
    assert plugin.split(registry.create("dataset", "short", {}).load(tmp_path / "cache", Quiet()))


def test_the_cache_of_the_command_line_is_where_names_are_looked_up(call, log, tmp_path):
    words = ["--interactions", str(log), "--user", "uid", "--item", "vid", "--timestamp", "at"]
    other = str(tmp_path / "other cache")
    out = call("data", "prepare", "files", "--name", "there", *words, "--cache", other)[1]
    assert f"bench data check there --cache {shlex.quote(other)}" in out
    assert "320" not in call("data", "check", "there", "--cache", other)[1]
    with pytest.raises(UserError, match="unknown dataset 'there'"):
        call("data", "check", "there")
    assert str(settings.cache_folder(reading=True)) == str(tmp_path / "cache")


@pytest.mark.usefixtures("mine")
def test_mistakes_are_user_errors(call):
    for words, says in (
        (("data", "check", "mein"), "did you mean 'mine'"),
        (("data", "check", "mine", "--where", "rating >= 3"), "takes no options, but got where"),
        (("data", "prepare", "files", "--name", "../x", "--interactions", "x"), "expected letters"),
        (("data", "prepare", "files", "--name", "sasrec", "--interactions", "x"), "a plug-in has this name"),
        (("data", "prepare", "demo", "--name", "own", "--clips", "8"), "simulated"),
        (("data", "delete", "yours", "--yes"), "there are: mine"),
    ):
        with pytest.raises(UserError) as caught:
            call(*words)
        assert says in str(caught.value)


@pytest.mark.usefixtures("mine")
def test_files_that_were_changed_are_refused(call, tmp_path):
    items = tmp_path / "cache" / prepared.FOLDER / "mine" / prepared.ITEMS
    other = bench.dataset(pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [T]}), name="other")
    assert other.name == "other" and call("data", "check", "other")[0] == 0
    items.write_bytes((tmp_path / "cache" / prepared.FOLDER / "other" / prepared.ITEMS).read_bytes())
    with pytest.raises(UserError, match=r"not those that were prepared|cannot be read") as caught:
        call("data", "check", "mine")
    assert "bench data prepare files --name mine" in caught.value.remedy
    items.write_bytes(b"ARROW1 no more")
    with pytest.raises(UserError, match="cannot be read"):
        call("data", "check", "mine")


@pytest.mark.usefixtures("mine")
def test_a_deleted_dataset_is_gone(call):
    assert call("data", "delete", "mine", "--yes") == (0, "deleted mine\n")
    assert "no dataset was prepared" in call("data", "list")[1]
    with pytest.raises(UserError, match="unknown dataset"):
        call("run", "--dataset", "mine", "--model", "pop")


def test_items_survive_as_they_were(call, tmp_path):
    items = pd.DataFrame({"item_id": ["b", "a"], "title": ["B", None], "release": [None, T], "duration": [1.5, None]})
    log = pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [T]})
    made = bench.dataset(log, items, name="own")
    again = registry.create("dataset", "own", {}).load(settings.cache_folder(), Quiet())
    assert again.fingerprint == made.fingerprint
    pd.testing.assert_frame_equal(again.items, made.items)
    pd.testing.assert_frame_equal(again.interactions, made.interactions)


def test_absent_video_files_are_counted(call, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"x")
    (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp\nu,a,{T}\nu,b,{T}\nu,c,{T}\n")
    (tmp_path / "items.csv").write_text("item_id,video\na,a.mp4\nb,b.mp4\nc,\n")
    files = [
        w
        for n in ("interactions", "items")
        for w in (f"--{n}", str(tmp_path / f"{n}.csv".replace("interactions", "log")))
    ]
    out = call("data", "prepare", "files", *files, "--media", str(tmp_path / "v"))[1]
    assert "1 of 3 items have no video: c" in out
    assert "1 of 3 items name a video file that is not there: b (b.mp4)" in out
