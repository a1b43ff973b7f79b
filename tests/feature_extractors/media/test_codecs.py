"""Frames of every codec and container that the bundled FFmpeg can write, and of files that tell their time oddly."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from feature_extractors.media import frame_policy, video, video_pass
from feature_extractors.media.result import Clip

ALL = frame_policy.parse("uniform:24")


def picture(index, size=(64, 48)):
    """A smooth ramp that no codec harms, brighter with every frame, a dark bar at the left and a red one on top."""
    width, height = size
    image = np.empty((height, width, 3), dtype=np.float64)
    image[:] = (60 + 5 * index + np.linspace(0, 30, width))[None, :, None]
    image[:, : max(1, width // 8)] = 20
    image[: max(1, height // 6)] = (200, 30, 30)
    return image.round().astype(np.uint8)


def record(
    path, codec="libx264", pixels="yuv420p", size=(64, 48), times=None, count=24, draw=picture, setup=None, **more
):
    """Write `count` pictures, at `times` (seconds) or 8 per second."""
    import av

    with av.open(str(path), "w", options=more.pop("container", {})) as container:
        stream = container.add_stream(codec, rate=more.pop("rate", 8), options={k: str(v) for k, v in more.items()})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        coarse = codec in ("mpeg2video", "mpeg4", "h263", "flv1")  # these count in frames
        base = stream.codec_context.time_base if coarse else Fraction(1, 1000)
        stream.codec_context.time_base = base = base or Fraction(1, 8)
        if setup is not None:
            setup(container, stream)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(draw(index, size), format="rgb24").reformat(format=pixels)
            frame.time_base = base
            frame.pts = round((times[index] if times else Fraction(index, 8)) / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def error(clip, size=(64, 48), draw=picture):
    """Mean absolute difference to what was drawn, in grey levels, for the worst frame."""
    drawn = np.stack([draw(index, size) for index in clip.indices]).astype(int)
    return np.abs(clip.frames.astype(int) - drawn).mean(axis=(1, 2, 3)).max()


def shown(clip, size=(64, 48)):
    """Index of the picture that each frame is most like."""
    drawn = np.stack([picture(index, size) for index in range(24)]).astype(int)
    return [int(np.abs(drawn - frame).mean(axis=(1, 2, 3)).argmin()) for frame in clip.frames]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.mp4", "libx264", {"bf": 3}),
        ("h264.mkv", "libx264", {"x264-params": "open-gop=1:keyint=6:bframes=3"}),
        ("h264.ts", "libx264", {"bf": 2}),
        ("h264-422.mov", "libx264", {"pixels": "yuv422p"}),
        ("h264-10bit.mp4", "libx264", {"pixels": "yuv420p10le"}),
        ("hevc.mp4", "libx265", {"x265-params": "log-level=none"}),
        ("hevc-10bit.mkv", "libx265", {"pixels": "yuv420p10le", "x265-params": "log-level=none"}),
        ("av1.webm", "libsvtav1", {"preset": 8, "crf": 2, "svtav1-params": "lp=1"}),
        ("vp8.webm", "libvpx", {"b": "1M", "auto-alt-ref": 1, "lag-in-frames": 8}),
        ("vp9.webm", "libvpx-vp9", {"b": "1M", "auto-alt-ref": 6, "lag-in-frames": 16}),
        ("mpeg2.mpg", "mpeg2video", {"rate": 24, "b": "2M", "bf": 2}),
        ("mpeg2.ts", "mpeg2video", {"rate": 24, "b": "2M"}),
        ("mpeg4.avi", "mpeg4", {"b": "2M"}),
        ("h263.3gp", "h263", {"size": (176, 144), "rate": 25, "b": "2M"}),
        ("flv1.flv", "flv1", {"b": "2M"}),
        ("mjpeg.avi", "mjpeg", {"pixels": "yuvj420p"}),
        ("rgb.avi", "rawvideo", {"pixels": "bgr24"}),
    ],
)
def test_every_codec_gives_the_frames_that_were_drawn(tmp_path, name, codec, options):
    clip = video.decode(record(tmp_path / name, codec, **options), ALL)
    assert isinstance(clip, Clip), clip
    assert (clip.total, clip.indices, clip.damage) == (24, list(range(24)), "")
    assert np.abs(np.diff(clip.times) - np.diff(clip.times).mean()).max() < 2e-3
    size = options.get("size", (64, 48))
    assert shown(clip, size) == clip.indices
    assert error(clip, size) < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 33), (161, 121), (3, 2)])
def test_sizes_down_to_one_pixel(tmp_path, size):
    clip = video.decode(record(tmp_path / "a.mp4", pixels="yuv444p", size=size, crf=5), ALL)
    assert clip.frames.shape == (24, size[1], size[0], 3)
    assert error(clip, size) < 5


def test_first_timestamp_far_from_zero(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.ts"):
        clip = video.decode(record(tmp_path / name, times=[10 + Fraction(k, 8) for k in range(24)]), ALL)
        assert clip.times == pytest.approx([k / 8 for k in range(24)], abs=2e-3)
        assert (clip.total, clip.fps) == (24, 8.0)
        assert shown(clip) == clip.indices


def test_variable_frame_rate_puts_frames_where_they_are_on_show(tmp_path):
    times = [Fraction(k, 10) for k in range(12)] + [Fraction(5 + k) for k in range(12)]
    for name in ("v.mp4", "v.mkv"):
        path = record(tmp_path / name, times=times)
        clip = video.decode(path, frame_policy.parse("fps:1"))
        # 0 s, 1 s, then the last of the fast frames stays on show until 5 s.
        assert clip.indices == [0, 10, 11, 11, 11, *range(12, 24)]
        assert shown(clip) == clip.indices
        first = video.decode(path, frame_policy.parse("first:1s/4"))
        assert (first.total, first.indices) == (10, [1, 3, 6, 8])


def edit(path, skip=0, keep=None):
    """Rewrite the edit list of an mp4: start `skip` seconds later, end after `keep` seconds."""
    data = bytearray(path.read_bytes())
    at = data.find(b"elst") + 12
    duration, start, rate = struct.unpack(">Iii", data[at : at + 12])
    scale = struct.unpack(">I", data[data.find(b"mvhd") + 16 :][:4])[0]
    media_scale = struct.unpack(">I", data[data.find(b"mdhd") + 16 :][:4])[0]
    length = round(keep * scale) if keep else duration - round(skip * scale)
    data[at : at + 12] = struct.pack(">Iii", length, start + round(skip * media_scale), rate)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("seek_from", [0.0, 30.0])
@pytest.mark.parametrize(
    ("skip", "keep", "left"), [(1, None, range(8, 24)), (1.25, None, range(10, 24)), (0, 2, range(16))]
)
def test_edit_lists_are_applied(tmp_path, monkeypatch, skip, keep, left, seek_from):
    monkeypatch.setattr(video, "SEEK_FROM_SECONDS", seek_from)
    clip = video.decode(edit(record(tmp_path / "a.mp4", bf=2, g=8), skip, keep), frame_policy.parse("uniform:8"))
    assert clip.total == len(left)
    assert shown(clip) == [left[index] for index in clip.indices]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv444p", "yuv420p10le"])
def test_whichever_decoder_is_taken_gives_the_same(tmp_path, monkeypatch, pixels):
    pytest.importorskip("decord")
    times = np.cumsum(np.random.default_rng(0).uniform(0.05, 0.4, 24)).tolist()
    path = record(tmp_path / "a.mp4", pixels=pixels, times=times, bf=3, g=8)
    for policy in map(frame_policy.parse, ("uniform:8", "fps:3", "first:2s/4")):
        slow = video.decode(path, policy)
        with monkeypatch.context() as patch:
            patch.setattr(video, "SEEK_FROM_SECONDS", 0.0)
            fast = video.decode(path, policy)
        assert fast.decoder == ("decord" if pixels in video_pass.EXACT_PIXELS else "pyav")
        assert np.array_equal(slow.frames, fast.frames)
        assert (slow.indices, slow.total, slow.fps) == (fast.indices, fast.total, fast.fps)
        assert fast.times == pytest.approx(slow.times, abs=1e-5)


def test_no_duration_in_the_header(tmp_path):
    probed = []
    path = record(tmp_path / "a.webm", "libvpx", container={"live": "1"})
    clip = video.decode(path, ALL, probed.append)
    assert (clip.total, clip.fps) == (24, 8.0)
    assert error(clip) < 5
    assert probed == [pytest.approx(23 / 8, abs=0.01)]


@pytest.mark.parametrize("claimed", [0.001, 3600.0])
def test_wrong_duration_in_the_header(tmp_path, claimed):
    path = record(tmp_path / "a.mkv")
    data = bytearray(path.read_bytes())
    at = data.find(b"\x44\x89\x88") + 3
    assert struct.unpack(">d", data[at : at + 8])[0] == pytest.approx(3000, abs=10)
    data[at : at + 8] = struct.pack(">d", 1000 * claimed)
    path.write_bytes(bytes(data))
    probed = []
    clip = video.decode(path, ALL, probed.append)
    assert probed == [pytest.approx(min(claimed, frame_policy.MAX_SECONDS))]
    assert (clip.total, clip.fps) == (24, 8.0)
    assert error(clip) < 5


def test_what_is_after_the_end_is_not_decoded(tmp_path, monkeypatch):
    path = record(tmp_path / "a.mp4")
    for seek_from in (0.0, 30.0):
        monkeypatch.setattr(video, "SEEK_FROM_SECONDS", seek_from)
        clip = video.decode(path, frame_policy.parse("uniform:4", max_seconds=1))
        assert (clip.total, clip.indices) == (8, [1, 3, 5, 7])
        assert clip.metadata["duration"] == 1.0


def turned(turns, mirror):
    """Draw pictures as a camera stores them that was held so: `upright` undoes it."""

    def draw(index, size):
        image = picture(index, (48, 64) if turns % 2 else (64, 48))
        return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirror else image, k=-turns))

    return draw


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_rotated_clip_is_its_upright_twin(tmp_path, monkeypatch, turns, mirror):
    # The display matrix that turns by 90 degrees counter-clockwise `turns` times, then mirrors left and right.
    matrix = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns)
    matrix = matrix @ np.array([[-1, 0], [0, 1]]) if mirror else matrix
    (a, b), (c, d) = (65536 * matrix).tolist()
    setup = lambda container, stream: stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])  # noqa: E731
    path = record(tmp_path / "r.mp4", draw=turned(turns, mirror), setup=setup, pixels="yuv444p", crf=10)
    upright = record(tmp_path / "u.mp4", size=(48, 64) if turns % 2 else (64, 48), pixels="yuv444p", crf=10)
    for seek_from in (0.0, 30.0):
        monkeypatch.setattr(video, "SEEK_FROM_SECONDS", seek_from)
        clip, twin = video.decode(path, ALL), video.decode(upright, ALL)
        assert clip.frames.shape == twin.frames.shape
        assert np.abs(clip.frames.astype(int) - twin.frames).mean(axis=(1, 2, 3)).max() < 2


def test_the_largest_of_several_streams_is_shown(tmp_path):
    import av

    def setup(container, stream):
        # A thumbnail track before, two sounds beside.
        small = container.add_stream("libx264", rate=8)
        small.width, small.height, small.pix_fmt = 16, 16, "yuv420p"
        small.codec_context.time_base = Fraction(1, 8)
        sounds = [container.add_stream("aac", rate=16000) for _ in range(2)]
        black = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        black.pts, black.time_base = 0, Fraction(1, 8)
        container.mux(small.encode(black))
        container.mux(small.encode())
        for sound in sounds:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            frame.sample_rate = 16000
            container.mux([*sound.encode(frame), *sound.encode()])

    clip = video.decode(record(tmp_path / "a.mp4", setup=setup), ALL)
    assert clip.total == 24
    assert error(clip) < 5
