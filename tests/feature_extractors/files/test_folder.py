"""Items from any folder: ids that stay apart, and entries that are no clips."""

import os
import sys

import numpy as np
import pytest

from feature_extractors.base import ExtractContext
from feature_extractors.files.folder import read_folder
from feature_extractors.media.frame_policy import parse
from feature_extractors.media.pool import DecodePool
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Stage, video_inputs
from protocols.errors import UserError
from protocols.features import FeatureSpace


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_ids_are_relative_paths_with_their_endings(tmp_path):
    names = ["a.mp4", "a.b.mp4", "x/1.mp4", "y/1.mp4", "A.MP4", "é 猫.webm", "a.mkv", "b,\n.wav", "x/y/z/..mov.ts"]
    for name in names:
        touch(tmp_path / name)
    for other in ("notes.txt", "mp4", ".hidden.mp4", ".git/a.mp4", "x/._a.mp4"):
        touch(tmp_path / other)
    found = read_folder(tmp_path)
    assert found.source.item_ids == sorted(n for n in names if not n.rpartition("/")[2].startswith("."))
    assert found.others == 6  # among them x/y/z/..mov.ts, which is hidden
    assert found.source.videos == [tmp_path / one for one in found.source.item_ids]
    assert set(found.source.titles) == {None}
    assert found.source.root == tmp_path
    assert (found.linked, found.unread) == (0, [])


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_names_that_are_no_text_get_ids_that_can_be_stored(tmp_path):
    touch(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    found = read_folder(tmp_path)
    assert found.source.item_ids == ["caf\\xe9.mp4"]
    found.source.item_ids[0].encode()
    assert found.source.videos[0].read_bytes() == b"x"
    touch(tmp_path / "caf\\xe9.mp4")
    with pytest.raises(UserError, match="have the same id"):
        read_folder(tmp_path)


def test_folders_that_cannot_be_used(tmp_path):
    touch(tmp_path / "file.mp4")
    with pytest.raises(UserError, match="not a folder"):
        read_folder(tmp_path / "file.mp4")
    with pytest.raises(UserError, match="not there"):
        read_folder(tmp_path / "nothing")
    touch(tmp_path / "texts" / "a.txt")
    with pytest.raises(UserError, match="no file with the ending of a clip \\(1 others"):
        read_folder(tmp_path / "texts")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_whatever_lies_there_becomes_a_status(tmp_path, make_clip):
    root, outside = tmp_path / "media", tmp_path / "outside"
    make_clip(root / "good.mp4", seed=1)
    make_clip(root / "dir.mp4" / "inside.mp4", seed=2)
    make_clip(outside / "secret.mp4")
    (root / "random.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (root / "zero.mp4").touch()
    os.mkfifo(root / "pipe.mp4")
    (root / "out.mp4").symlink_to(outside / "secret.mp4")
    (root / "in.mp4").symlink_to("good.mp4")
    (root / "nowhere.mp4").symlink_to("gone.mp4")
    (root / "loop.mp4").symlink_to("loop.mp4")
    (root / "linked").symlink_to(outside)
    (root / "up").symlink_to("..")
    found = read_folder(root)
    assert found.linked == 2
    space, policy = FeatureSpace("colour", 1, "vector", {}), parse("uniform:2")
    stage = Stage(
        space,
        "colour",
        4,
        lambda: lambda clips: [clip.frames.mean(axis=(0, 1, 2)).astype(np.float32) for clip in clips],
        reader=lambda workers: DecodePool(workers, policy),
    )
    context = ExtractContext(tmp_path / "store")
    features = run_stage(stage, video_inputs(found.source, context), context)
    got = dict(zip(features.item_ids, zip(features.status, features.reason, strict=True), strict=True))
    assert {one for one, (status, _) in got.items() if status == "ok"} == {"good.mp4", "in.mp4", "dir.mp4/inside.mp4"}
    assert got["random.mp4"][0] == "undecodable"
    assert got["zero.mp4"] == ("empty", "the file has 0 bytes")
    assert got["dir.mp4"] == ("missing", "a folder, not a file")
    assert got["pipe.mp4"] == ("missing", "not a regular file")
    assert got["out.mp4"] == ("missing", "a link that leads out of the media folder")
    assert got["nowhere.mp4"] == ("missing", "a link to nothing")
    assert got["loop.mp4"][0] == "missing"
    assert len(got) == 10
    values = dict(zip(features.item_ids, features.values, strict=True))
    assert np.array_equal(values["good.mp4"], values["in.mp4"])
