"""Claims of jobs in a results folder that several processes share."""

import json
import os
import subprocess
import sys
import time

import pytest
from loopback_stores import environment, make_bucket, s3_server

from bench.runs import claims
from bench.runs.claims import claim
from protocols import object_store


def test_one_holder_at_a_time_and_nothing_is_left(tmp_path):
    path = tmp_path / "board" / "job.claim"
    with claim(path) as first, claim(path) as second:
        assert first and not second
    with claim(path) as again:
        assert again
    assert not list(path.parent.iterdir())


def test_an_error_frees_it(tmp_path):
    with pytest.raises(RuntimeError), claim(tmp_path / "job.claim"):
        raise RuntimeError
    with claim(tmp_path / "job.claim") as free:
        assert free


def test_that_of_a_killed_process_is_taken_over_at_once(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from bench.runs.claims import claim\n"
        "with claim(Path(sys.argv[1])) as free: print(free); sys.stdout.flush(); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "job.claim")], capture_output=True, text=True)
    assert ended.stdout.split() == ["True"] and (tmp_path / "job.claim").exists()
    with claim(tmp_path / "job.claim") as free:
        assert free
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("age", "free"), [(claims.LEASE - 30, False), (claims.LEASE + 30, True)])
@pytest.mark.parametrize("content", [json.dumps({"machine": "elsewhere", "pid": 1, "token": "t"}), "half a cla"])
def test_that_of_another_machine_is_free_when_it_was_not_touched_for_long(tmp_path, age, free, content):
    path = tmp_path / "job.claim"
    path.write_text(content)
    os.utime(path, (time.time() - age,) * 2)
    with claim(path) as taken:
        assert taken == free
    assert path.exists() != free


def test_its_holder_touches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    path = tmp_path / "job.claim"
    with claim(path):
        os.utime(path, (0, 0))
        limit = time.monotonic() + 60
        while path.stat().st_mtime == 0 and time.monotonic() < limit:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_of_many_that_want_an_abandoned_one_at_a_time_one_gets_it(tmp_path):
    path = tmp_path / "job.claim"
    path.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "token": "t"}))
    os.utime(path, (0, 0))
    code = (
        "import sys, time; from pathlib import Path; from bench.runs.claims import claim\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "with claim(Path(sys.argv[1])) as free: print(free, flush=True); sys.stdin.readline()"
    )
    call = [sys.executable, "-c", code, str(path)]
    many = [subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for one in many:
        assert one.stdout.readline() == "ready\n"
    for one in many:
        one.stdin.write("go\n")
        one.stdin.flush()
    assert sorted(one.stdout.readline().strip() for one in many) == ["False"] * 3 + ["True"]
    for one in many:
        one.communicate("end\n")
        assert one.returncode == 0
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """The path of a claim that is an object of a store."""
    with s3_server() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        make_bucket(url, "bucket")
        yield object_store.folder_of("s3://bucket/results", tmp_path) / "board" / "job.claim"


def test_a_claim_in_an_object_store_has_one_holder_and_leaves_nothing(stored, tmp_path):
    elsewhere = object_store.folder_of("s3://bucket/results", tmp_path / "elsewhere") / "board" / "job.claim"
    with claim(stored) as first, claim(elsewhere) as second:
        assert first and not second
    with claim(elsewhere) as again:
        assert again
    assert object_store.content(elsewhere.parent)[0] == 0 and object_store.look(object_store.uri_of(stored)) is None


def test_a_claim_in_an_object_store_is_touched_and_taken_over_when_it_is_not(stored, monkeypatch):
    uri = object_store.uri_of(stored)
    object_store.put(uri, json.dumps({"machine": "elsewhere", "pid": 1, "token": "t"}).encode())
    with claim(stored) as free:
        assert not free
    monkeypatch.setattr(claims, "LEASE", -1.0)
    with claim(stored) as free:
        assert free
    assert object_store.look(uri) is None
    monkeypatch.setattr(claims, "BEAT", 0.01)
    with claim(stored):
        before, limit = object_store.look(uri).changed, time.monotonic() + 60
        while object_store.look(uri).changed == before and time.monotonic() < limit:
            time.sleep(0.1)
        assert object_store.look(uri).changed > before


def test_a_claim_in_an_object_store_of_a_killed_process_is_taken_over_at_once(stored):
    code = (
        "import os, sys; from pathlib import Path; from bench.runs.claims import claim\n"
        "with claim(Path(sys.argv[1])) as free: print(free); sys.stdout.flush(); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(stored)], capture_output=True, text=True)
    assert ended.stdout.split() == ["True"] and object_store.look(object_store.uri_of(stored))
    with claim(stored) as free:
        assert free
