"""Files that are no clips, or want to be more than that: a reason each, no hang, no memory, nothing else opened."""

import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from feature_extractors.media import audio, container, frame_policy, video
from feature_extractors.media.hashed_file import HashedFile, hash_file
from feature_extractors.media.pool import DecodePool
from feature_extractors.media.result import Failure

POLICY = frame_policy.parse("uniform:4")


@pytest.fixture
def hostile(tmp_path, make_clip):
    """A folder with five files, and what is to be said of each."""
    folder = tmp_path / "media"
    (folder / "folder.mp4").mkdir(parents=True)
    (folder / "random.mp4").write_bytes(np.random.default_rng(0).bytes(200_000))
    (folder / "nothing.mp4").touch()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "link.mp4").symlink_to(make_clip(tmp_path / "outside.mp4"))
    return folder, {
        "random.mp4": ("undecodable", "Invalid data found when processing input"),
        "nothing.mp4": ("empty", "the file has 0 bytes"),
        "folder.mp4": ("missing", "a folder, not a file"),
        "pipe.mp4": ("missing", "not a regular file"),
        "link.mp4": ("missing", "a link that leads out of the media folder"),
    }


def test_five_hostile_files_get_a_reason_each(hostile):
    folder, expected = hostile
    clock = time.monotonic()
    found = {}
    with DecodePool(1, POLICY) as pool:
        for name in expected:
            hashed = hash_file(folder / name, folder)
            failure = hashed if isinstance(hashed, Failure) else next(pool.map([folder / name], ahead=1))
            found[name] = (failure.status, failure.reason)
    assert found == expected
    assert time.monotonic() - clock < 30


@pytest.mark.parametrize("wanted", [POLICY, audio.Listening()])
def test_the_decoders_themselves_do_not_hang_on_them(hostile, wanted):
    folder, expected = hostile
    names = [name for name in expected if name != "link.mp4"]
    with DecodePool(1, wanted, limit=20) as pool:
        found = list(pool.map([folder / name for name in names], ahead=4))
    assert [(failure.status, failure.reason) for failure in found] == [expected[name] for name in names]


def test_links_inside_the_folder_and_to_nowhere(tmp_path, make_clip):
    make_clip(tmp_path / "media" / "a.mp4")
    (tmp_path / "media" / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "media" / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "media" / "loop.mp4").symlink_to("loop.mp4")
    root = tmp_path / "media"
    assert hash_file(root / "b.mp4", root).content == hash_file(root / "a.mp4").content
    assert hash_file(root / "gone.mp4", root) == Failure("missing", "a link to nothing")
    assert hash_file(root / "loop.mp4", root).status == "missing"
    # The folder itself may be reached by a link.
    (tmp_path / "way").symlink_to(root)
    assert isinstance(hash_file(tmp_path / "way" / "a.mp4", tmp_path / "way"), HashedFile)
    assert hash_file(root / "nul\0.mp4", root).status == "missing"
    assert hash_file(root / "a.mp4" / "b.mp4", root) == Failure("missing", "no such file")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{clip.name}'\n"),
        ("list.mp4", "ffconcat version 1.0\nfile '{clip.name}'\n"),
        ("words.txt", "a text that FFmpeg would draw as a film\n" * 20),
        ("words.nfo", "a text that FFmpeg would draw as a film\n" * 20),
        (
            "call.sdp",
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 32\r\n",
        ),
    ],
)
def test_lists_of_other_files_and_texts_are_no_clips(tmp_path, make_clip, name, text):
    clip = make_clip(tmp_path / "a.mp4", audio=True)
    (tmp_path / name).write_text(text.format(clip=clip))
    assert video.decode(tmp_path / name, POLICY).status == "undecodable"
    assert audio.read_audio(tmp_path / name).status == "undecodable"


def test_names_mean_nothing(tmp_path, make_clip, monkeypatch):
    plain = make_clip(tmp_path / "plain.mp4")
    names = ["concat:a|b.mp4", "http:x.mp4", "a%03d.mp4", "-i.mp4", "\udcff\udcfe.mp4", "ü 'é\n.mp4"]
    for name in names:
        os.link(plain, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with DecodePool(1, POLICY) as pool:
        clips = list(pool.map([Path(name) for name in names], ahead=1))
    reference = video.decode(plain, POLICY).frames
    assert all(np.array_equal(clip.frames, reference) for clip in clips)


def test_titles_in_any_encoding_do_not_matter(tmp_path, make_clip):
    import av

    with av.open(str(make_clip(tmp_path / "a.mp4"))) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
        target.metadata["title"] = "TITLETITLE"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "b.mkv").read_bytes()
    assert data.count(b"TITLETITLE") == 1
    (tmp_path / "b.mkv").write_bytes(data.replace(b"TITLETITLE", b"caf\xe9\xff\xfe\x80abc"))
    assert len(video.decode(tmp_path / "b.mkv", POLICY).frames) == 4


def png(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((3 * width + 1) * height)) if width < 100 else zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (18_000, 18_000), (60_000, 60_000)])
def test_frames_declared_larger_than_the_limit_are_refused_by_the_header(tmp_path, width, height):
    (tmp_path / "small.png").write_bytes(png(20, 10))
    assert video.decode(tmp_path / "small.png", POLICY).frames.shape == (4, 10, 20, 3)
    (tmp_path / "large.png").write_bytes(png(width, height))
    failure = video.decode(tmp_path / "large.png", POLICY)
    assert failure.status == "undecodable"
    assert str(container.MAX_PIXELS) in failure.reason


def test_more_frames_than_memory_is_set_aside_for_are_refused(tmp_path, make_clip, monkeypatch):
    from feature_extractors.media import video_pass

    path = make_clip(tmp_path / "a.mp4", frames=20)
    monkeypatch.setattr(video_pass, "MAX_CLIP_BYTES", 5 * 64 * 64 * 3)
    assert len(video.decode(path, frame_policy.parse("uniform:5")).frames) == 5
    failure = video.decode(path, frame_policy.parse("uniform:6"))
    assert failure.status == "error"
    assert "6 frames of 64x64" in failure.reason
    # A wrong guess of what will be wanted does not fill the memory either.
    lying = video_pass.Header(None, 20, 0.001, True)
    assert len(video._decode_pyav(path, frame_policy.parse("fps:1"), lying).frames) == 3


def test_a_decoding_process_is_bounded_in_memory(tmp_path, make_clip, monkeypatch):
    import sys

    from feature_extractors.media import pool

    script = tmp_path / "worker.py"
    script.write_text(
        "import numpy as np\n"
        "from feature_extractors.media import video\n"
        "real = video.decode\n"
        "def decode(path, *rest):\n"
        "    if 'greedy' in path.name:\n"
        "        np.empty(5 << 30, np.uint8)\n"
        "    return real(path, *rest)\n"
        "video.decode = decode\n"
        "from feature_extractors.media import worker\n"
        "worker.main()\n"
    )
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, str(script)))
    paths = [make_clip(tmp_path / "greedy.mp4"), make_clip(tmp_path / "a.mp4")]
    with DecodePool(1, POLICY) as decoders:
        greedy, clip = decoders.map(paths, ahead=2)
    assert greedy == Failure("error", "decoding it does not fit into memory")
    assert len(clip.frames) == 4


def test_a_cover_picture_is_no_video(tmp_path):
    import av

    (tmp_path / "cover.png").write_bytes(png(20, 10))
    with av.open(str(tmp_path / "song.mp3"), "w") as container, av.open(str(tmp_path / "cover.png")) as cover:
        sound = container.add_stream("libmp3lame", rate=16000)
        picture = container.add_stream_from_template(cover.streams.video[0])
        picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.full((1, 1152), 9000, np.int16), format="s16p", layout="mono")
        frame.sample_rate = 16000
        packets = [*sound.encode(frame), *sound.encode()]
        packet = next(cover.demux())
        packet.stream = picture
        container.mux([packet, *packets])
    assert video.decode(tmp_path / "song.mp3", POLICY) == Failure("undecodable", "no video stream but a cover picture")
    assert audio.read_audio(tmp_path / "song.mp3").seconds > 0
