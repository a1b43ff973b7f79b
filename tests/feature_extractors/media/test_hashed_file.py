"""Hashed media files: the hash of the bytes, and readings of a file that moves, changes or vanishes."""

import hashlib
import os

import pytest

from feature_extractors.media.hashed_file import HashedFile, hash_file
from feature_extractors.media.result import Failure


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    return path


def settled(path):
    """Hash a file whose last change is some time ago: its signature is trusted."""
    hashed = hash_file(path)
    found = path.stat()
    hashed.signature = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return hashed


def test_content_is_the_bytes_and_absence_has_a_status(file, tmp_path):
    assert hash_file(file).content == hashlib.sha256(b"one").hexdigest()
    (tmp_path / "nothing.mp4").touch()
    assert hash_file(tmp_path / "nothing.mp4") == Failure("empty", "the file has 0 bytes")
    for absent in (tmp_path / "gone.mp4", None, tmp_path):
        assert hash_file(absent).status == "missing"
        assert not hash_file(absent).passing


def test_bytes_that_stay_are_read_once_and_hashed_again_only_where_they_moved(file, monkeypatch):
    hashed = settled(file)
    assert hashed.unchanged
    monkeypatch.setattr("feature_extractors.media.hashed_file._hashed", None)
    assert hashed.read(file.read_bytes) == b"one"
    monkeypatch.undo()
    os.utime(file, ns=(1, 1))
    assert not hashed.unchanged
    assert hashed.read(file.read_bytes) == b"one"


def test_a_young_file_is_hashed_again_although_its_signature_is_the_same(file):
    hashed = hash_file(file)
    assert hashed.signature is None
    found = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert hashed.read(file.read_bytes) == Failure("error", "the file holds other bytes than when it was hashed")


@pytest.mark.parametrize("make", [hash_file, settled])
def test_what_was_read_of_other_bytes_is_never_returned(file, make):
    hashed = make(file)

    def replaced_meanwhile():
        file.write_bytes(b"other")
        return b"other"

    found = hashed.read(replaced_meanwhile)
    assert found.passing
    assert found.status == "error"


def test_a_file_that_was_away_and_is_back_is_read_again(file, tmp_path):
    hashed = settled(file)
    moves = iter([True, False])

    def read():
        if next(moves):  # another clip lies there for a moment
            file.rename(tmp_path / "away")
            file.write_bytes(b"two")
            found = file.read_bytes()
            (tmp_path / "away").replace(file)
            return found
        return file.read_bytes()

    assert hashed.read(read) == b"one"


def test_a_file_that_changes_at_every_attempt_is_given_up(file):
    hashed, times = settled(file), iter(range(1, 100))

    def touched():
        os.utime(file, ns=(next(times), 0))
        return b"one"

    assert hashed.read(touched) == Failure("error", "the file was changed or moved while it was read")
    assert next(times) < 10


def test_a_vanished_file_is_a_failure_of_the_moment(file):
    hashed = settled(file)
    file.unlink()
    found = hashed.read(lambda: pytest.fail("nothing is there to read"))
    assert (found.status, found.passing) == ("missing", True)
    assert found.reason == "vanished since it was hashed: no such file"


def test_a_file_that_is_written_while_it_is_hashed_has_no_hash(file, monkeypatch):
    digest = hashlib.file_digest

    def slow(handle, name):
        found = digest(handle, name)
        with file.open("ab") as out:
            out.write(b"more")
        return found

    monkeypatch.setattr(hashlib, "file_digest", slow)
    found = hash_file(file)
    assert not isinstance(found, HashedFile)
    assert found.passing
