"""Folders that stand for object stores: an S3 server on loopback, several machines, faults."""

import os
import re
import threading
import urllib.request

import pytest
from loopback_stores import busy_for, check_signatures, environment, make_bucket, s3_proxy, s3_server

from protocols import object_store
from protocols.errors import UserError

RECORDS = re.compile(r"s\d-f\d\.(json|parquet)")


@pytest.fixture(scope="module")
def server():
    with s3_server() as url:
        make_bucket(url, "bucket")
        yield url


def use(monkeypatch, url):
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def places(server, monkeypatch, tmp_path, request):
    """The folders of two machines that stand for one place."""
    use(monkeypatch, server)
    uri = f"s3://bucket/{re.sub(r'[^a-z0-9]', '-', request.node.name)}"
    return [object_store.folder_of(uri, tmp_path / name) for name in ("one", "two")]


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc", "ftp://bucket/a", "s3://", "s3:///a", "s3://me:s3cret@bucket/a", "s3://bucket/../other",
        "s3://bucket/a//b", "s3://bucket/a?s3cret=1", "s3://bucket/a b", "https://bucket/a", "s3://bucket/.",
    ],
)  # fmt: skip
def test_what_is_no_place_in_a_bucket_is_refused_without_repeating_it(uri, tmp_path):
    with pytest.raises(UserError, match="no place in an object store") as caught:
        object_store.folder_of(uri, tmp_path)
    assert "s3cret" not in f"{caught.value} {caught.value.remedy}"


def test_a_path_names_the_place_that_it_stands_for(tmp_path):
    folder = object_store.folder_of("gs://my-bucket/a/b/", tmp_path)
    assert object_store.uri_of(folder / "c" / "d.json") == "gs://my-bucket/a/b/c/d.json"
    assert object_store.shown(folder) == "gs://my-bucket/a/b"
    for other in (tmp_path / "a", tmp_path / object_store.FOLDER, tmp_path / object_store.FOLDER / "ftp" / "a"):
        assert object_store.uri_of(other) == "" and object_store.shown(other) == str(other)


def test_what_one_machine_writes_and_removes_another_one_sees(places):
    one, two = places
    object_store.write(one / "cell ü" / "s1-f0.parquet", b"users")
    object_store.write(one / "cell ü" / "s1-f0.json", "first")
    object_store.write(one / "other.txt", "not asked for")
    object_store.pull(two, RECORDS)
    assert {path.name: path.read_bytes() for path in two.rglob("*") if path.is_file()} == {
        "s1-f0.parquet": b"users", "s1-f0.json": b"first",
    }  # fmt: skip
    assert (two / "cell ü" / "s1-f0.json").stat().st_mtime == (one / "cell ü" / "s1-f0.json").stat().st_mtime
    object_store.write(two / "cell ü" / "s1-f0.json", "second")
    object_store.fetch(one / "cell ü" / "s1-f0.json")
    assert (one / "cell ü" / "s1-f0.json").read_text() == "second"
    object_store.remove(one / "cell ü" / "s1-f0.json")
    (two / "kept.log").write_text("of this machine")
    object_store.pull(two, RECORDS)
    object_store.fetch(one / "cell ü" / "s1-f0.json")
    assert sorted(path.name for path in two.rglob("*") if path.is_file()) == ["kept.log", "s1-f0.parquet"]


def test_copies_that_are_fresh_are_not_loaded_again(places, server, monkeypatch):
    one, two = places
    object_store.write(one / "s1-f0.json", "x")
    object_store.pull(two, RECORDS)
    with s3_proxy(server) as (url, proxy):
        use(monkeypatch, url)
        object_store.pull(two, RECORDS)
        object_store.pull(one, RECORDS)
        object_store.fetch(two / "s1-f0.json")
        assert [method for method, _ in proxy.seen] == ["GET", "GET", "HEAD"]  # two lists, one look


@pytest.mark.parametrize("name", ["a/../../s1-f1.json", "a//s1-f3.json", "./s1-f4.json", "a%5C..%5C..%5Cs1-f2.json"])
def test_names_of_objects_lead_out_of_no_folder(places, name):
    folder = places[0]
    prefix = object_store.uri_of(folder).removeprefix("s3://bucket/")
    url = f"{os.environ['AWS_ENDPOINT_URL']}/bucket/{prefix}/{name}"
    urllib.request.urlopen(urllib.request.Request(url, b"x", method="PUT")).close()
    anything = re.compile(r".*s1-f\d\.json")
    if "%" in name:
        object_store.pull(folder, anything)
    else:
        with pytest.raises(UserError, match="name is no path"):
            object_store.pull(folder, anything)
    assert not list(folder.parents[4].rglob("*.json"))


def test_of_many_that_put_one_object_one_succeeds_and_a_changed_one_is_not_replaced(places):
    uri, taken = f"{object_store.uri_of(places[0])}/claim", []
    threads = [threading.Thread(target=lambda n=n: taken.append(object_store.put(uri, b"%d" % n))) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(taken) == [False] * 7 + [True]
    found = object_store.look(uri)
    assert object_store.put(uri, b"next", found) and not object_store.put(uri, b"late", found)
    assert object_store.read(uri) == b"next"


def test_a_store_that_is_busy_for_a_while_is_waited_for(places, server, monkeypatch):
    with s3_proxy(server) as (url, proxy):
        use(monkeypatch, url)
        proxy.fault = staticmethod(busy_for(1.0))
        object_store.write(places[0] / "s1-f0.json", "x")
        assert (places[0] / "s1-f0.json").read_text() == "x"
        assert len(proxy.seen) > 2


def test_what_cannot_be_put_does_not_appear(places, server, monkeypatch):
    path = places[0] / "s1-f0.json"
    object_store.write(path, "old")
    with s3_proxy(server) as (url, proxy):
        use(monkeypatch, url)
        proxy.fault = staticmethod(lambda method, path: (403, "AccessDenied") if method == "PUT" else None)
        with pytest.raises(UserError, match="refuses these credentials") as caught:
            object_store.write(path, "new")
    assert path.read_text() == "old" and [one.name for one in path.parent.iterdir()] == ["s1-f0.json"]
    assert "AWS_PROFILE" in caught.value.remedy


def test_a_bucket_that_is_not_there_is_named(server, monkeypatch, tmp_path):
    use(monkeypatch, server)
    folder = object_store.folder_of("s3://no-such-bucket/a", tmp_path)
    for action in (object_store.check, lambda folder: object_store.pull(folder, RECORDS)):
        with pytest.raises(UserError, match="there is no bucket s3://no-such-bucket"):
            action(folder)


def test_wrong_credentials_are_said_and_not_repeated(tmp_path, monkeypatch):
    with s3_server() as url:
        use(monkeypatch, url)
        make_bucket(url, "bucket")
        check_signatures(url, "0")  # from now on it checks signatures
        with pytest.raises(UserError, match="s3://bucket refuses these credentials") as caught:
            object_store.check(object_store.folder_of("s3://bucket/a", tmp_path))
        check_signatures(url, "inf")
    text = f"{caught.value} {caught.value.remedy}"
    assert "InvalidAccessKeyId" in text and "s3cret" not in text and "somebody who" in text


def test_a_store_without_conditional_puts_is_found_out(places, server, monkeypatch):
    assert not object_store.lacks_conditional_puts(places[0])
    with s3_proxy(server) as (url, proxy):
        proxy.dropped += ("if-none-match", "if-match")
        use(monkeypatch, url)
        assert object_store.lacks_conditional_puts(places[0])


def test_the_package_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(UserError, match="obstore") as caught:
        object_store.check(object_store.folder_of("s3://bucket/a", tmp_path))
    assert "video-rec-bench[s3]" in caught.value.remedy
