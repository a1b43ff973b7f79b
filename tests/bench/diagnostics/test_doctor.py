"""`bench doctor`: what it looks at, what it says, and its exit code."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from loopback_stores import environment, make_bucket, s3_proxy, s3_server

from bench.cli import cli
from bench.diagnostics import doctor
from feature_extractors.base import ItemSource
from feature_extractors.media import frame_policy, video
from feature_extractors.media.result import Clip
from feature_extractors.pocket import CAPTIONER, TEXT_ENCODER
from protocols import object_store
from protocols.errors import UserError


@pytest.fixture
def run(tmp_path):
    def invoke(*words):
        command = ["doctor", *words, "--cache", str(tmp_path / "cache")]
        found = CliRunner().invoke(cli, command, standalone_mode=False)
        if found.exception:
            raise found.exception
        return found

    return invoke


@pytest.fixture
def checks(run):
    def told(*words):
        found = run(*words, "--json")
        content = json.loads(found.stdout)
        by_name = {check["name"]: check for check in content["checks"]}
        assert content["ok"] == all(check["ok"] for check in by_name.values()) == (found.return_value == 0)
        assert all(check["remedy"] for check in by_name.values() if not check["ok"])
        return by_name, found.return_value

    return told


@pytest.mark.parametrize("offline", [False, True])
def test_all_is_well_with_pocket_checkpoints_and_a_clip_of_its_own(run, tmp_path, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    found = run("--extractor", "captions")
    assert found.return_value == 0
    assert found.output.endswith("all checks passed\n")
    assert ("unset HF_HUB_OFFLINE" in found.output) == offline
    lines = {name: line for line in found.output.splitlines() if (name := line[5:25].strip())}
    assert list(lines)[:7] == [
        "device",
        "disk of features",
        "disk of checkpoints",
        "hub",
        "decoder",
        "checkpoint",
        "one clip",
    ]
    assert "8 frames of 112x112" in lines["decoder"]
    assert "captions (pocket) in" in lines["checkpoint"]
    assert "vector 128, norm 1" in lines["one clip"]
    assert not list(tmp_path.glob("cache/features/*"))  # nothing is kept


def test_a_clip_that_does_not_decode_and_one_that_is_not_there(checks, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"no video at all" * 100)
    words = ("--extractor", "captions", "--checkpoint", str(CAPTIONER), "--text-encoder", str(TEXT_ENCODER))
    found, code = checks(*words, "--media", str(folder))
    assert code == 2
    assert not found["decoder"]["ok"]
    assert "without --media" in found["decoder"]["remedy"]
    assert (found["one clip"]["ok"], found["one clip"]["found"][:12]) == (False, "undecodable:")
    (folder / "a.mp4").unlink()
    with pytest.raises(UserError, match="no file with the ending of a clip"):
        checks(*words, "--media", str(folder))


def test_a_broken_checkpoint_is_named_with_a_remedy(checks, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(CAPTIONER, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    found, code = checks("--extractor", "hidden-states", "--checkpoint", str(broken))
    assert code == 2
    assert str(broken) in found["checkpoint"]["found"]
    assert "fetch or save it again" in found["checkpoint"]["remedy"]


def test_a_gpu_that_is_not_there(checks):
    found, code = checks("--extractor", "id", "--device", "cuda:99")
    assert code == 2
    assert "is not there" in found["device"]["found"]


def test_an_error_of_ours_is_exit_code_1(checks, monkeypatch):
    from feature_extractors.titles import Titles

    def broken(self, source, context):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Titles, "extract", broken)
    found, code = checks("--extractor", "titles")
    assert code == 1
    assert found["checkpoint"]["found"] == "ZeroDivisionError: oops"


def test_extractors_without_a_clip_or_a_checkpoint(checks):
    found, code = checks("--extractor", "titles")
    assert code == 0
    assert "vector 128" in found["one clip"]["found"]
    found, code = checks("--extractor", "id")
    assert (code, found["checkpoint"]["found"]) == (0, "id needs none and makes no features")


def test_nothing_to_say_of_a_clip_is_no_fault_of_the_machine(checks, tmp_path, monkeypatch):
    from feature_extractors.media.result import Failure
    from feature_extractors.pipeline.run import run_stage
    from feature_extractors.pipeline.stage import Stage, text_inputs
    from feature_extractors.titles import Titles
    from protocols.features import FeatureSpace

    def silent(self, source, context):
        space = FeatureSpace("silent", 1, "text", {})
        stage = Stage(space, "silent", 1, lambda: lambda texts: [Failure("empty", "no speech")])
        return run_stage(stage, text_inputs(source.item_ids, source.titles, "title"), context)

    monkeypatch.setattr(Titles, "extract", silent)
    found, code = checks("--extractor", "titles")
    assert (code, found["one clip"]["found"]) == (0, "empty: no speech")
    assert "--media" in found["one clip"]["remedy"]


def test_what_is_said_of_disk_hub_and_folders(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    room, mode = doctor.hub()
    assert f"{tmp_path / 'hub'} (HF_HOME is set)" in room.found
    assert "HF_HUB_OFFLINE=1" in mode.found
    assert "unset HF_HUB_OFFLINE" in mode.remedy
    monkeypatch.setattr(doctor, "DISK_BYTES", 1e18)
    full = doctor.disk("disk", tmp_path)
    assert not full.ok
    assert "make room" in full.remedy
    assert doctor.disk("disk", "s3://bucket/features").ok


def test_the_rendered_clip_can_be_seen_and_heard(tmp_path):
    from feature_extractors.media.audio import Listening, Sound, listen

    source = doctor.rendered(tmp_path)
    assert isinstance(video.decode(source.videos[0], frame_policy.parse("uniform:8")), Clip)
    sound = listen(source.videos[0], Listening(30.0))
    assert isinstance(sound, Sound)
    assert abs(sound.samples).max() > 0.01


def test_the_first_item_with_a_file_is_tried(tmp_path):
    clip = Path(doctor.rendered(tmp_path).videos[0])
    source = ItemSource(["a", "b", "c"], [None] * 3, [None, tmp_path / "gone.mp4", clip])
    found = doctor.decoder(doctor._first(source))
    assert found.ok
    none = doctor.decoder(doctor._first(replace(source, videos=[None] * 3)))
    assert (none.ok, none.found) == (False, "a: no video is named")


def test_an_object_store_is_told_by_whether_it_has_conditional_puts(tmp_path, monkeypatch):
    folder = object_store.folder_of("s3://bucket/cache", tmp_path)
    with s3_server() as url, s3_proxy(url) as (lacking, proxy):
        make_bucket(url, "bucket")
        proxy.dropped = ("if-none-match",)
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        fine = doctor.disk("disk", folder)
        assert fine.ok and "s3://bucket/cache" in fine.found
        monkeypatch.setenv("AWS_ENDPOINT_URL", lacking)
        told = doctor.disk("disk", folder)
        assert not told.ok and "no conditional puts" in told.found and told.remedy
        proxy.fault = staticmethod(lambda method, path: (403, "AccessDenied"))
        assert "refuses these credentials" in doctor.disk("disk", folder).found
