"""Cache and results in an object store on loopback: the same records as on disk, seen by a second machine."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from loopback_stores import busy_for, check_signatures, environment, make_bucket, s3_proxy, s3_server

from bench import records, settings

PLACES = ["--cache", "s3://bench/shared/cache", "--results", "s3://bench/shared/results"]
SETS = [
    *("--set", "demo.clips=40", "--set", "demo.users=60", "--set", "demo.interactions=900"),
    *("--set", "sasrec.dim=16", "--set", "sasrec.max_epochs=2"),
]
ROW = ["run", "--extractor", "titles", "--model", "sasrec", "--fusion", "gate", "--no-controls", *SETS]
# of the moment, not of the result
PASSING = ("seconds", "peak_memory_mb", "environment", "usage", "passed")


@pytest.fixture(scope="module")
def server():
    with s3_server() as url:
        make_bucket(url, "bench")
        yield url


def start(url, local, *words):
    """Run a command as a machine whose local files lie in a folder."""
    more = {"BENCH_LOCAL": str(local), "OMP_NUM_THREADS": "1", "BENCH_CACHE": "", "BENCH_RESULTS": ""}
    call = [sys.executable, "-c", "from bench.cli import main; main()", *map(str, words)]
    own = {**os.environ, **environment(url), **more}
    return subprocess.Popen(call, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, code=0):
    words, errors = process.communicate(timeout=500)
    assert process.returncode == code, errors
    assert "s3cret" not in words + errors
    return words, errors


def lasting(path):
    record = records.as_json(records.read(path))
    record["features"].pop("seconds_per_item", None)
    return {key: value for key, value in record.items() if key not in PASSING}


def by_name(folder):
    return {path.name: path for path in records.find(folder)}


@pytest.mark.slow
def test_a_run_in_a_store_equals_one_on_disk_and_a_second_machine_shows_it(server, tmp_path):
    disk = ["--cache", tmp_path / "cache", "--results", tmp_path / "results"]
    finished(start(server, tmp_path / "none", *ROW, *disk))
    one, two = tmp_path / "one", tmp_path / "two"
    finished(start(server, one, "extract", "--extractor", "titles", *SETS[:6], *PLACES[:2]))
    shown, _ = finished(start(server, one, *ROW, *PLACES))
    assert "records in s3://bench/shared/results" in shown

    copies = one / "object-stores" / "s3" / "bench" / "shared"
    on_disk, in_store = by_name(tmp_path / "results"), by_name(copies / "results")
    assert on_disk and on_disk.keys() == in_store.keys()
    for name, path in on_disk.items():
        assert lasting(path) == lasting(in_store[name])
        assert records.frame_of(path).read_bytes() == records.frame_of(in_store[name]).read_bytes()
    assert not list(copies.rglob("*.lance")) and not list(copies.rglob("*.claim"))

    table = ["leaderboard", "--format", "csv", "--columns", "row,score,warm,cold"]  # seconds differ
    board, _ = finished(start(server, two, *table, *PLACES))
    assert board == finished(start(server, tmp_path, *table, *disk))[0]
    again, _ = finished(start(server, two, *ROW, *PLACES))
    assert "served from earlier runs" in again
    spaces = json.loads(finished(start(server, two, "features", "list", "--json", *PLACES[:2]))[0])
    assert spaces["store"] == "s3://bench/shared/cache/features" and len(spaces["spaces"]) == 1
    finished(start(server, two, "features", "verify", *PLACES[:2]))
    finished(start(server, two, "runs", "delete", "titles", "--yes", *PLACES))
    assert "no runs in s3://bench/shared/results" in finished(start(server, one, "runs", *PLACES))[0]
    assert not by_name(copies / "results")


GRID = """
dataset: ml-100k
set: {protocol: {folds: 3}}
rows: [{model: pop}, {model: itemknn}]
"""


@pytest.mark.slow
def test_workers_of_two_machines_make_every_record_once_while_a_third_one_reads(server, tmp_path, monkeypatch):
    (tmp_path / "grid.yaml").write_text(GRID)
    places = ["--cache", "s3://bench/grid", "--results", "s3://bench/grid"]
    with s3_proxy(server) as (url, proxy):
        for name, value in {**environment(url), "BENCH_LOCAL": str(tmp_path / "reader")}.items():
            monkeypatch.setenv(name, value)
        grid = ["grid", tmp_path / "grid.yaml", "--worker", "--jobs", "1", *places]
        machines = [start(url, tmp_path / name, *grid) for name in ("one", "two")]
        seen, busy = [0], False
        while any(one.poll() is None for one in machines):
            found = records.read_all(settings.results_folder("s3://bench/grid", reading=True))
            assert not records.mismatches(found)  # no record without the values of its users
            seen.append(len(found))
            if seen[-1] and not busy:
                busy, proxy.fault = True, staticmethod(busy_for(2.0))
            time.sleep(0.2)
        for one in machines:
            assert finished(one)[0].startswith("6 results, 0 failed")
        copies = by_name(settings.results_folder("s3://bench/grid", reading=True))
    assert busy and seen == sorted(seen) and len(copies) == 6
    written = [path for method, path in proxy.seen if method == "PUT" and re.search(r"/s\d+-f\d+-\w+\.json$", path)]
    assert sorted(path.rsplit("/", 1)[1] for path in set(written)) == sorted(copies)
    assert len([path for path in proxy.seen if path[1].endswith(".claim")]) > 6


def test_a_bucket_that_is_not_there_and_credentials_that_are_refused_end_a_command_at_once(bench, tmp_path):
    with s3_server() as url:
        variables = {**environment(url), "BENCH_LOCAL": str(tmp_path)}
        done = bench(*ROW, "--cache", tmp_path, "--results", "s3://absent/results", env=variables)
        assert done.exit_code == 2 and "there is no bucket s3://absent" in done.stderr
        make_bucket(url, "bench")
        check_signatures(url, "0")
        for words in (ROW, ["leaderboard"]):
            done = bench(*words, "--cache", tmp_path, "--results", "s3://bench/results", env=variables)
            assert done.exit_code == 2 and "s3://bench refuses these credentials" in done.stderr
            assert "AWS_PROFILE" in done.stderr and "s3cret" not in done.output
        check_signatures(url, "inf")


def test_addresses_of_other_kinds_are_refused_before_anything_is_made(bench, tmp_path):
    for address in ("file:///etc", "s3://me:s3cret@bench/x", "ftp://bench/x"):
        done = bench("leaderboard", "--results", address, env={"BENCH_LOCAL": str(tmp_path)})
        assert done.exit_code == 2 and "no place in an object store" in done.stderr and "s3cret" not in done.output
    assert not list(tmp_path.iterdir())
