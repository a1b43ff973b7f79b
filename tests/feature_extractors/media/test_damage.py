"""Notes on damaged clips: zeroed bytes and truncated files of several codecs, against the frames of the intact file."""

import numpy as np
import pytest

from feature_extractors.media import audio, frame_policy, timeline, video
from feature_extractors.media.container import _seconds
from feature_extractors.media.result import Clip

ALL = frame_policy.parse("at:" + "+".join(map(str, range(60))))
KINDS = {
    "h264": ("a.mp4", "libx264", {"preset": "ultrafast"}),
    "hevc": ("a.mp4", "libx265", {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}),
    "vp9": ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "av1": ("a.mkv", "libsvtav1", {"preset": "12"}),
    "mpeg4": ("a.avi", "mpeg4", {}),
    "h264-ts": ("a.ts", "libx264", {"preset": "ultrafast"}),
}
# A wrong frame differs by this much on average, of 255; decoders differ by less.
VISIBLE = 2.0


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A function that writes 60 frames of a moving texture, once a kind."""
    import av

    if not {codec for _, codec, _ in KINDS.values()} <= av.codecs_available:
        pytest.skip("this FFmpeg lacks an encoder")
    done = {}

    def write(kind):
        if kind in done:
            return done[kind]
        name, codec, options = KINDS[kind]
        path = tmp_path_factory.mktemp(kind) / name
        texture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 128, "yuv420p", 30
            for at in range(60):
                image = np.roll(texture, 3 * at, axis=1)[:128, :160]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode())
        done[kind] = path
        return path

    return write


def zeroed(path):
    data = bytearray(path.read_bytes())
    for part in (0.35, 0.55, 0.75):
        start = int(len(data) * part)
        data[start : start + 64] = bytes(64)
    return bytes(data)


def cut(path):
    data = path.read_bytes()
    return data[: int(len(data) * 0.6)]


def wrong_frames(clip, intact):
    """Frames that differ visibly from those of the intact file, or are not there."""
    if not isinstance(clip, Clip):
        return len(intact)
    count = min(len(intact), clip.total)
    difference = np.abs(clip.frames[:count].astype(int) - intact[:count]).mean(axis=(1, 2, 3))
    return int((difference > VISIBLE).sum()) + len(intact) - count


@pytest.mark.parametrize("damage", [zeroed, cut])
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_frames_carry_a_note_and_intact_ones_none(make, tmp_path, kind, damage):
    path = make(kind)
    intact = video.decode(path, ALL)
    assert (intact.total, intact.note) == (60, "")
    damaged = tmp_path / path.name
    damaged.write_bytes(damage(path))
    found = video.decode(damaged, ALL)
    wrong = wrong_frames(found, intact.frames)
    note = getattr(found, "note", getattr(found, "reason", ""))
    print(f"{kind:8} {damage.__name__:7} {wrong:3} of 60 frames wrong: {note or '-'}")
    assert wrong > 0
    if kind == "h264-ts" and damage is cut:
        return  # a transport stream has no header that could say how much there was
    assert note
    assert timeline.read(damaged, timeline.Timing()).damage == found.note


def test_what_lies_behind_the_end_of_the_policy_is_not_missed(make, tmp_path):
    path = make("vp9")
    (tmp_path / "a.webm").write_bytes(cut(path))
    assert video.decode(tmp_path / "a.webm", frame_policy.parse("first:1s/4")).note == ""
    whole = video.decode(tmp_path / "a.webm", frame_policy.parse("uniform:4")).note
    assert "of 2.4 s are missing" in whole


def test_missing_sound_has_a_note(make_clip, tmp_path):
    import av

    path = make_clip(tmp_path / "a.mp4", frames=80, audio=True)
    assert audio.read_audio(path).note == ""
    with av.open(str(path)) as source, av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "faststart"}) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    data = (tmp_path / "f.mp4").read_bytes()
    (tmp_path / "f.mp4").write_bytes(data[: int(len(data) * 0.6)])
    note = audio.read_audio(tmp_path / "f.mp4").note
    assert note.startswith("damaged: ")
    assert "of 10.0 s are missing" in note


def test_a_picture_without_anything_in_it_has_no_note(tmp_path, make_clip):
    for codec, name in (("libvpx-vp9", "a.webm"), ("libvpx", "b.webm"), ("libsvtav1", "c.mkv")):
        path = make_clip(tmp_path / name, codec=codec, colour=(0, 0, 0), frames=12)
        assert video.decode(path, ALL).note == ""


def test_durations_of_matroska_are_read():
    assert [_seconds(text) for text in ("01:02:03.500000000", "", "a:b:c", "10")] == [3723.5, 0.0, 0.0, 0.0]
