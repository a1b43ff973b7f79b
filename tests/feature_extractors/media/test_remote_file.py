"""Clips at addresses: read by ranges, of one version, from public hosts and from those that the user names."""

import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest
from loopback_stores import environment, file_server, make_bucket, s3_server

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media import frame_policy, remote_file, web
from feature_extractors.media.audio import Listening
from feature_extractors.media.pool import DecodePool
from feature_extractors.media.remote_file import RemoteFile, look_up
from feature_extractors.media.result import Failure
from feature_extractors.media.timeline import Timing
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Stage, video_inputs
from protocols import object_store
from protocols.features import FeatureSpace

POLICY = frame_policy.parse("uniform:4")


@pytest.fixture
def files(monkeypatch):
    with file_server() as (host, server):
        monkeypatch.setenv(web.HOSTS_VARIABLE, host)
        monkeypatch.setattr(web, "PATIENCE", 3.0)
        yield f"http://{host}", server


@pytest.fixture(scope="module")
def bucket():
    with s3_server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(url).items():
            patch.setenv(name, value)
        make_bucket(url, "clips")
        yield "s3://clips"


@pytest.fixture
def clip(tmp_path, make_clip):
    return make_clip(tmp_path / "a.mp4", seed=3, frames=40, audio=True)


def test_a_clip_of_a_bucket_or_a_web_server_decodes_as_the_file_does(clip, bucket, files):
    object_store.put(f"{bucket}/some where/ü a.mp4", clip.read_bytes())
    url, server = files
    server.files["/a.mp4"] = clip.read_bytes()
    remote = [look_up(f"{bucket}/some where/ü a.mp4"), look_up(f"{url}/a.mp4?signature=secret")]
    assert [one.size for one in remote] == [clip.stat().st_size] * 2
    for request in (POLICY, Listening(seconds=3.0), Timing(None)):
        with DecodePool(1, request) as pool:
            expected, *found = pool.map([clip, *remote], 3)
        first = next(iter(vars(expected)))
        for one in found:
            assert np.array_equal(getattr(one, first), getattr(expected, first))
            assert {k: v for k, v in vars(one).items() if k != first} == {
                k: v for k, v in vars(expected).items() if k != first
            }


def test_only_what_is_needed_of_a_long_file_is_read(clip, files, monkeypatch):
    url, server = files
    monkeypatch.setattr(remote_file, "RANGE", 1 << 12)
    content = clip.read_bytes()
    server.files["/long.mp4"] = content + b"\0\0\0\0free" + bytes(1 << 20)
    found = look_up(f"{url}/long.mp4")
    with found.open() as file:
        file.seek(-8, 2)
        assert file.read() == bytes(8)
        file.seek(0)
        assert file.read(len(content)) == content
    sizes = [(lambda first, last: int(last) - int(first) + 1)(*asked[6:].split("-")) for _, asked in server.asked]
    assert max(sizes) <= 1 << 12 and sum(sizes) < len(content) + (1 << 17) < len(server.files["/long.mp4"])


def test_an_extraction_is_resumed_by_version_and_does_not_see_a_later_one(clip, make_clip, tmp_path, bucket):
    space = FeatureSpace("colours.vector", 1, "vector", {})
    computed = []

    def model(clips):
        computed.extend(clips)
        return np.stack([one.frames.mean(axis=(0, 1, 2), dtype=np.float32) for one in clips])

    def extract(context, between=lambda: None):
        videos = [clip, f"{bucket}/b.mp4", f"{bucket}/c.mp4"]
        inputs = video_inputs(ItemSource(["a", "b", "c"], [None] * 3, videos), context)
        between()
        reader = lambda workers: DecodePool(workers, POLICY, inputs.files)  # noqa: E731
        return run_stage(Stage(space, "colours", 1, lambda: model, reader), inputs, context)

    object_store.put(f"{bucket}/b.mp4", clip.read_bytes())
    found = extract(ExtractContext(tmp_path / "store"))
    assert list(found.status) == ["ok", "ok", "missing"] and np.array_equal(*found.values[:2])
    assert found.reason[2] == "no such object" and len(computed) == 2
    extract(ExtractContext(tmp_path / "store"))
    assert len(computed) == 2

    def replaced():
        other = make_clip(tmp_path / "other.mp4", seed=9, frames=40).read_bytes()
        assert object_store.put(f"{bucket}/b.mp4", other, object_store.look(f"{bucket}/b.mp4"))

    found = extract(ExtractContext(tmp_path / "new"), replaced)
    assert list(found.status) == ["ok", "missing", "missing"] and "changed or removed" in found.reason[1]
    assert extract(ExtractContext(tmp_path / "new")).status[1] == "ok"


def test_a_server_that_is_busy_for_a_while_is_asked_again_and_then_given_up(clip, files):
    url, server = files
    server.files["/a.mp4"] = clip.read_bytes()
    until = time.monotonic() + 1.0
    server.fault = staticmethod(lambda self: time.monotonic() < until and (self.answer(503) or True))
    assert look_up(f"{url}/a.mp4").size == clip.stat().st_size
    server.fault = staticmethod(lambda self: self.answer(503) or True)
    found = look_up(f"{url}/a.mp4")
    assert found.status == "missing" and found.passing and "503" in found.reason


def test_what_is_not_there_is_missing_for_good_and_what_is_refused_is_not(files):
    url, server = files
    assert look_up(f"{url}/none.mp4") == Failure("missing", "the server says 404 Not Found")
    assert not look_up(f"{url}/none.mp4").passing
    server.fault = staticmethod(lambda self: self.answer(403) or True)
    assert look_up(f"{url}/none.mp4").passing


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 200, "body": b"whole"}, "no ranges"),
        ({"status": 206, "body": b"w", "Content_Range": "bytes 0-0/5"}, "neither ETag nor Last-Modified"),
        ({"status": 206, "body": b"w", "Content_Range": "bytes 7-7/8", "ETag": '"1"'}, "no ranges"),
    ],
)
def test_servers_that_do_not_say_enough_are_refused(files, answer, says):
    url, server = files
    server.fault = staticmethod(lambda self: self.answer(**answer) or True)
    found = look_up(f"{url}/a.mp4")
    assert found.passing and says.replace("no ranges", "not serve ranges") in found.reason


def test_a_file_that_changes_on_a_web_server_is_not_decoded(clip, make_clip, tmp_path, files):
    url, server = files
    server.files["/a.mp4"] = clip.read_bytes()
    found = look_up(f"{url}/a.mp4")
    server.files["/a.mp4"] = make_clip(tmp_path / "b.mp4", seed=8, frames=40).read_bytes()
    with DecodePool(1, POLICY) as pool:
        failure = next(pool.map([found], 1))
    assert failure.passing and "changed" in failure.reason


def test_hosts_that_are_not_public_are_not_asked(clip, files, monkeypatch):
    url, server = files
    host = url.removeprefix("http://")
    server.files["/a.mp4"] = clip.read_bytes()
    monkeypatch.setenv(web.HOSTS_VARIABLE, "elsewhere.example")
    for address in (f"http://{host}/a.mp4", f"https://{host}/a.mp4", f"https://localhost:{host[10:]}/a.mp4"):
        found = look_up(address)
        assert isinstance(found, Failure) and web.HOSTS_VARIABLE in found.reason, address
    assert not server.asked


@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/b", "file:///etc/passwd", "ftp://127.0.0.1/b", "https://a:b@c/d"]
)
def test_a_redirect_leads_to_no_other_private_host_and_to_no_other_scheme(files, target):
    url, server = files
    where = target.format(port=url.rpartition(":")[2])
    server.fault = staticmethod(lambda self: self.answer(302, Location=where) or True)
    found = look_up(f"{url}/a.mp4")
    assert isinstance(found, Failure) and len(server.asked) == 1 and "/etc" not in found.reason


def test_a_redirect_to_a_named_host_is_followed(clip, files):
    url, server = files
    server.files["/b.mp4"] = clip.read_bytes()
    there = f"{url}/b.mp4"
    server.fault = staticmethod(lambda self: self.path == "/a.mp4" and (self.answer(302, Location=there) or True))
    assert look_up(f"{url}/a.mp4").size == clip.stat().st_size


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "ftp://host/a.mp4", "data://x", "concat://a|b", "https://me:pw@host/a"]
)
def test_other_addresses_are_refused(uri):
    found = look_up(uri)
    assert found.status == "missing" and "pw" not in found.reason


def test_a_playlist_opens_no_other_file(clip, files):
    url, server = files
    server.files["/list.m3u8"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:{clip}\n#EXT-X-ENDLIST\n".encode()
    server.files["/list.txt"] = f"ffconcat version 1.0\nfile '{clip}'\n".encode()
    with DecodePool(1, POLICY) as pool:
        found = list(pool.map([look_up(f"{url}{name}") for name in server.files], 1))
    assert [one.status for one in found] == ["undecodable"] * 2


def test_content_is_that_of_address_size_and_version():
    base = RemoteFile("s3://b/a.mp4", 5, '"1"')
    others = [replace(base, uri="s3://b/c.mp4"), replace(base, size=6), replace(base, tag='"2"')]
    assert len({one.content for one in (base, *others)}) == 4
    assert len(base.content) == len(hashlib.sha256().hexdigest())
