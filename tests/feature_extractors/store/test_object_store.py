"""Feature spaces in an object store: equal to those on disk, seen by other machines, faults that are no damage."""

import re
import subprocess
import sys

import numpy as np
import pytest
from loopback_stores import busy_for, check_signatures, environment, make_bucket, s3_proxy, s3_server

from feature_extractors.base import ExtractContext
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Stage, text_inputs
from feature_extractors.store import catalogue
from feature_extractors.store.lance import FeatureStore, Row
from protocols import object_store
from protocols.errors import UserError
from protocols.features import FeatureSpace

SPACE = FeatureSpace("toy.vector", 1, "vector", {"dim": 3})


def row(item, value):
    return Row(item, "c", "ok", "", 0.5, np.full(3, value, np.float32))


def fill(root, items, space=SPACE):
    store = FeatureStore(root, space)
    store.describe()
    for at, item in enumerate(items):
        store.add([row(item, at)])
    store.commit()
    return store


@pytest.fixture(scope="module")
def server():
    with s3_server() as url:
        make_bucket(url, "bucket")
        yield url


@pytest.fixture
def roots(server, monkeypatch, tmp_path, request):
    """Folders of two machines that stand for one place."""
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    uri = f"s3://bucket/{re.sub(r'[^a-z0-9]', '-', request.node.name)}"
    return [object_store.folder_of(uri, tmp_path / name) for name in ("one", "two")]


def test_a_stage_fills_a_store_as_it_fills_a_disk_and_another_machine_finds_it_done(roots, tmp_path):
    calls = []

    def model(texts):
        calls.append(texts)
        return np.stack([np.full(3, len(text), np.float32) for text in texts])

    inputs = text_inputs(["a", "b", "c"], ["x", "xx", None], "title")
    stage = Stage(SPACE, "toy", 2, lambda: model)
    on_disk = run_stage(stage, inputs, ExtractContext(tmp_path / "disk"))
    in_store = run_stage(stage, inputs, ExtractContext(roots[0]))
    elsewhere = run_stage(stage, inputs, ExtractContext(roots[1]))
    assert len(calls) == 2
    for found in (in_store, elsewhere):
        assert found.digest == on_disk.digest and found.values.tobytes() == on_disk.values.tobytes()
        assert found.usage[SPACE.id].items == on_disk.usage[SPACE.id].items == 3
    rows = [FeatureStore(root, SPACE).take(range(3)) for root in (tmp_path / "disk", *roots)]
    assert {tuple((one.item_id, one.content, one.status, one.reason) for one in part) for part in rows} == {
        tuple((one.item_id, one.content, one.status, one.reason) for one in rows[0])
    }
    assert not list(tmp_path.glob("*/object-stores/**/*.lance"))  # nothing of the values lies on this disk


def test_spaces_are_listed_measured_and_deleted_from_another_machine(roots):
    one, two = roots
    other = FeatureSpace("toy.text", 1, "text", {"parents": [SPACE.id]})
    fill(one, "ab")
    FeatureStore(one, other).describe()
    entry = catalogue.find(two, "toy.vector")
    assert entry.space == SPACE and entry.bytes > 300 and entry.written.year >= 2024
    assert [found.value[0] for found in next(catalogue.read_ok(entry.store, catalogue.read_index(entry.store)))] == [
        0,
        1,
    ]
    assert catalogue.delete(entry) > 300
    assert catalogue.find_all(two) == catalogue.find_all(one) == []
    assert object_store.look(f"{object_store.uri_of(one)}/{SPACE.id}.json") is None


def test_two_machines_that_begin_one_space_lose_nothing(roots):
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from feature_extractors.store.lance import FeatureStore, Row\n"
        "from protocols.features import FeatureSpace\n"
        "store = FeatureStore(Path(sys.argv[1]), FeatureSpace('toy.vector', 1, 'vector', {'dim': 3}))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for n in range(4):\n"
        "    store.add([Row(f'{sys.argv[2]}{n}', 'c', 'ok', '', 0.5, np.full(3, n, np.float32))]); store.commit()"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for root, name in zip(roots, "xy", strict=True)
    ]
    for one in writers:
        assert one.stdout.readline() == "ready\n"
    for one in writers:
        one.communicate("go\n", timeout=120)
        assert one.returncode == 0
    items = [f"{name}{n}" for name in "xy" for n in range(4)]
    found = FeatureStore(roots[0], SPACE).read(items, ["c"] * 8)
    assert [one.value[0] for one in found] == [0, 1, 2, 3] * 2


def test_a_store_that_is_busy_for_a_while_is_waited_for(roots, server, monkeypatch):
    with s3_proxy(server) as (url, proxy):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        proxy.fault = staticmethod(busy_for(1.0))
        assert fill(roots[0], "ab").read("ab", "cc")[1].value.tolist() == [1, 1, 1]
        assert len(proxy.seen) > 5


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [(403, "InvalidAccessKeyId", "refuses these"), (404, "NoSuchBucket", "there is no bucket")],
)
def test_a_store_that_refuses_is_not_taken_for_a_damaged_one(roots, server, monkeypatch, status, code, says):
    fill(roots[0], "ab")
    with s3_proxy(server) as (url, proxy):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        proxy.fault = staticmethod(lambda method, path: (status, code))
        with pytest.raises(UserError, match=says):
            FeatureStore(roots[0], SPACE).read("ab", "cc")


def test_credentials_that_are_refused_stop_an_extraction_before_the_model_is_loaded(tmp_path, monkeypatch):
    with s3_server() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        make_bucket(url, "bucket")
        check_signatures(url, "0")
        root = object_store.folder_of("s3://bucket/cache", tmp_path)
        stage = Stage(SPACE, "toy", 2, lambda: pytest.fail("loaded"))
        with pytest.raises(UserError, match="refuses these credentials") as caught:
            run_stage(stage, text_inputs(["a"], ["x"], "title"), ExtractContext(root))
        check_signatures(url, "inf")
    assert "s3cret" not in str(caught.value)
