"""Frames of clips, good and bad; both decoders agree where both are used."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from feature_extractors.media import frame_policy, video
from feature_extractors.media.result import Failure
from feature_extractors.media.video_pass import Header, frame_rate

POLICY = frame_policy.parse("uniform:8")


def test_frames_come_in_order_with_what_a_processor_needs_to_know(tmp_path, make_clip):
    clip = video.decode(make_clip(tmp_path / "a.mp4", frames=20, fps=8), POLICY)
    assert clip.frames.shape == (8, 64, 64, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.indices == [1, 3, 6, 8, 11, 13, 16, 18]
    assert (clip.total, clip.fps, clip.note) == (20, 8.0, "")
    assert clip.times == pytest.approx([i / 8 for i in clip.indices], abs=2e-3)
    assert clip.metadata == {"fps": 8.0, "total_num_frames": 20, "duration": 2.5, "frames_indices": clip.indices}


def test_frames_are_the_pixels_that_were_drawn(tmp_path, make_clip):
    clip = video.decode(make_clip(tmp_path / "a.mp4", colour=(10, 60, 120)), POLICY)
    assert np.abs(clip.frames[:, 40:].astype(int) - [10, 60, 120]).max() <= 6
    blocks = [np.flatnonzero(frame[4, :, 0] > 150).min() for frame in clip.frames]
    assert (np.diff(blocks) % 56).tolist() == [2 * d for d in np.diff(clip.indices)]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_clips_come_upright_as_decord_shows_them(tmp_path, make_clip, rotation):
    decord = pytest.importorskip("decord")
    path = make_clip(tmp_path / "r.mp4", rotation=rotation)
    clip = video.decode(path, POLICY)
    upright = decord.VideoReader(str(path), num_threads=1).get_batch(clip.indices).asnumpy()
    assert np.array_equal(clip.frames, upright)
    plain = video.decode(make_clip(tmp_path / "p.mp4"), POLICY)
    assert not np.array_equal(clip.frames, plain.frames)


def test_rotation_swaps_height_and_width(tmp_path, make_clip):
    clip = video.decode(make_clip(tmp_path / "r.mp4", size=(64, 48), rotation=90), POLICY)
    plain = video.decode(make_clip(tmp_path / "p.mp4", size=(64, 48)), POLICY)
    assert clip.frames.shape == (8, 64, 48, 3)
    assert np.array_equal(clip.frames, np.rot90(plain.frames, k=1, axes=(1, 2)))


def test_variable_frame_rate_gives_the_average_from_timestamps(tmp_path, make_clip):
    times = [0.0, 0.1, 0.2, 1.0, 1.1, 2.0]
    clip = video.decode(make_clip(tmp_path / "v.mp4", frames=6, times=times), POLICY)
    assert clip.total == 6
    assert clip.fps == 2.5
    assert clip.times == pytest.approx([times[i] for i in clip.indices], abs=2e-3)


@pytest.mark.parametrize("fps", [6, 24, 30])
def test_containers_that_round_timestamps_keep_the_rate(tmp_path, make_clip, fps):
    rates = [video.decode(make_clip(tmp_path / f"a.{end}", frames=24, fps=fps), POLICY).fps for end in ("mp4", "mkv")]
    assert rates == [fps, fps]


def test_rates_that_are_not_usual_stay_as_measured():
    assert frame_rate([0.0, 0.4, 1.0, 1.6], 0.0) == 1.875
    assert frame_rate([k * 1.001 / 30 for k in range(300)], 0.0) == 29.97
    assert frame_rate([0.0], 0.0) == 1.0
    assert frame_rate([0.0], 12.5) == 12.5


@pytest.mark.parametrize("size", [(35, 51), (2, 2), (320, 16)])
def test_odd_sizes_decode(tmp_path, make_clip, size):
    clip = video.decode(make_clip(tmp_path / "o.mp4", size=size), POLICY)
    assert clip.frames.shape == (8, size[1], size[0], 3)


def test_one_frame_stands_for_all(tmp_path, make_clip):
    clip = video.decode(make_clip(tmp_path / "one.mp4", frames=1), POLICY)
    assert clip.indices == [0] * 8
    assert clip.total == 1
    assert clip.fps > 0


def test_header_that_lies_about_the_number_of_frames_does_not_matter(tmp_path, make_clip, monkeypatch):
    path = make_clip(tmp_path / "a.mp4")
    right = video.decode(path, POLICY)
    for lie, rate in ((3, 8.0), (1000, 0.0), (1 << 40, 1e9)):
        wrong = video._decode_pyav(path, POLICY, Header(None, lie, rate, True))
        assert wrong.indices == right.indices
        assert np.array_equal(wrong.frames, right.frames)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")])
def test_seeking_decoder_gives_the_very_frames_of_the_reference(tmp_path, make_clip, monkeypatch, name, codec):
    pytest.importorskip("decord")
    path = make_clip(tmp_path / name, frames=40, codec=codec)
    reference = video.decode(path, POLICY)
    monkeypatch.setattr(video, "SEEK_FROM_SECONDS", 0.0)
    fast = video.decode(path, POLICY)
    assert (reference.decoder, fast.decoder) == ("pyav", "decord")
    assert np.array_equal(reference.frames, fast.frames)
    assert (fast.indices, fast.total, fast.fps) == (reference.indices, reference.total, reference.fps)
    assert fast.times == pytest.approx(reference.times, abs=2e-3)


def test_containers_where_seeking_is_inexact_go_to_the_reference(tmp_path, make_clip, monkeypatch):
    monkeypatch.setattr(video, "SEEK_FROM_SECONDS", 0.0)
    assert video.decode(make_clip(tmp_path / "a.ts"), POLICY).decoder == "pyav"
    assert video.decode(make_clip(tmp_path / "a.mp4", codec="mpeg4"), POLICY).decoder == "pyav"


def test_any_trouble_with_decord_falls_back_to_the_reference(tmp_path, make_clip, monkeypatch):
    decord = pytest.importorskip("decord")

    def broken(*args, **kwargs):
        raise decord.DECORDError("no")

    monkeypatch.setattr(video, "SEEK_FROM_SECONDS", 0.0)
    monkeypatch.setattr(decord, "VideoReader", broken)
    assert video.decode(make_clip(tmp_path / "a.mp4"), POLICY).decoder == "pyav"


def test_damaged_packets_are_counted_and_the_rest_is_used(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4", frames=40, size=(128, 128))
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 2000
    data[middle : middle + 400] = bytes(range(200)) * 2
    path.write_bytes(bytes(data))
    clip = video.decode(path, POLICY)
    assert "packets do not decode" in clip.note
    assert len(clip.frames) == 8


def test_what_cannot_be_decoded_says_why(tmp_path, make_clip, make_sound):
    whole = make_clip(tmp_path / "whole.mp4", audio=True).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "text.mp4").write_text("not a video at all")
    make_sound(tmp_path / "sound.mp4")
    assert video.decode(tmp_path / "half.mp4", POLICY).status == "undecodable"
    assert video.decode(tmp_path / "text.mp4", POLICY).reason == "Invalid data found when processing input"
    assert video.decode(tmp_path / "sound.mp4", POLICY) == Failure("undecodable", "no video stream")


def test_true_times_reach_processors_where_the_rate_varies(tmp_path, make_clip):
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
    from transformers.video_utils import VideoMetadata

    times = [k / 25 for k in range(100)] + [4 + k / 5 for k in range(100)]  # 25 frames a second, then 5
    clip = video.decode(make_clip(tmp_path / "v.mp4", frames=200, times=times), frame_policy.parse("uniform:8"))
    read = VideoMetadata(**clip.metadata)
    assert read.timestamps == pytest.approx(clip.times, abs=6e-4)
    assert read.sampled_fps == pytest.approx(8 / (200 / clip.fps))  # as Qwen2.5-VL reads it: frames over duration
    pairs = Qwen3VLProcessor._calculate_timestamps(None, read.frames_indices, read.fps, 2)
    assert [f"{time:.1f}" for time in pairs] == ["1.0", "3.0", "8.9", "18.9"]


def test_true_times_reach_processors_where_frames_are_lost(tmp_path, make_clip):
    times = [k / 25 for k in range(100) if k % 10 < 7]
    clip = video.decode(make_clip(tmp_path / "l.mp4", frames=len(times), times=times), frame_policy.parse("uniform:6"))
    read = clip.metadata
    assert [index / read["fps"] for index in read["frames_indices"]] == pytest.approx(clip.times, abs=6e-4)


@pytest.mark.parametrize(("name", "fps"), [("a.mp4", 25), ("a.mkv", Fraction(30000, 1001)), ("a.avi", 12)])
def test_positions_are_handed_on_where_they_are_times(tmp_path, make_clip, name, fps):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    clip = video.decode(make_clip(tmp_path / name, frames=90, fps=fps, codec=codec), frame_policy.parse("uniform:8"))
    assert clip.metadata["frames_indices"] == clip.indices
    assert clip.metadata["fps"] == clip.fps


def test_deadline_grows_with_duration_and_not_with_a_lying_header():
    assert video.deadline(10**6) == 30
    assert video.deadline(10**6, 60.0) == 150
    assert video.deadline(10_000, 1e9) == 40


def test_decoding_never_imports_torch():
    program = (
        "import sys, feature_extractors.media.worker, feature_extractors.media.pool; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
