"""One path from any clip to its sound: 16 kHz, mono, float32."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from feature_extractors.media import audio, pool
from feature_extractors.media.audio import RATE, Listening, Sound, read_audio
from feature_extractors.media.result import Failure

FORMATS = {"s16": np.int16, "s16p": np.int16, "fltp": np.float32, "flt": np.float32, "u8": np.uint8, "s32": np.int32}
CODEC_FORMAT = {
    "pcm_s16le": "s16",
    "pcm_f32le": "flt",
    "pcm_u8": "u8",
    "pcm_s32le": "s32",
    "flac": "s16",
    "libmp3lame": "s16p",
    "libopus": "flt",
}


def tones(seconds, rate, *hertz, level=0.5):
    """Float [channels, n]: a sine for each channel, silence where it is 0 Hz."""
    at = np.arange(int(seconds * rate)) / rate
    return np.stack([level * np.sin(2 * np.pi * f * at) for f in hertz])


def fill(container, stream, signal, rate, codec, layout, start=0.0):
    """Encode float [channels, n]."""
    import av

    sample = CODEC_FORMAT.get(codec, "fltp")
    dtype = FORMATS[sample]
    if np.issubdtype(dtype, np.integer):
        signal = np.round(signal * (127 if dtype == np.uint8 else np.iinfo(dtype).max * 0.99999)) + 128 * (
            sample == "u8"
        )
    signal = signal.astype(dtype)
    for at in range(0, signal.shape[1], 960):
        block = np.ascontiguousarray(signal[:, at : at + 960])
        if not sample.endswith("p"):
            block = np.ascontiguousarray(block.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(block, format=sample, layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at + round(start * rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def record(path, signal, rate=44100, codec="pcm_s16le", layout=None, start=0.0):
    import av

    with av.open(str(path), "w") as container:
        layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(signal)]
        stream = container.add_stream(codec, rate=rate, layout=layout)
        fill(container, stream, signal, rate, codec, layout, start)
    return path


def strength(samples, hertz):
    """Amplitude of a sine in a signal at `RATE`."""
    at = np.arange(len(samples)) / RATE
    return 2 * abs((samples * np.exp(-2j * np.pi * hertz * at)).mean())


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.wav", "pcm_s16le", 44100),
        ("a.wav", "pcm_u8", 8000),
        ("a.wav", "pcm_f32le", 96000),
        ("a.wav", "pcm_s32le", 16000),
        ("a.flac", "flac", 48000),
        ("a.mp4", "aac", 44100),
        ("a.mp3", "libmp3lame", 22050),
        ("a.ogg", "libopus", 48000),
        ("a.webm", "libopus", 48000),
        ("a.mkv", "ac3", 48000),
        ("a.ts", "aac", 32000),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_is_the_same_tone_from_every_codec(tmp_path, name, codec, rate, channels):
    sound = read_audio(record(tmp_path / name, tones(1.5, rate, *[440] * channels), rate, codec))
    assert isinstance(sound, Sound), sound
    assert sound.samples.dtype == np.float32
    assert sound.samples.ndim == 1
    assert sound.seconds == pytest.approx(1.5, abs=0.13)  # codecs pad
    assert (sound.channels, sound.source_rate, sound.silent, sound.damage) == (channels, rate, False, "")
    assert strength(sound.samples[4000:20000], 440) == pytest.approx(0.5, rel=0.06)


def test_resampling_keeps_time_and_removes_what_the_rate_cannot_hold(tmp_path):
    signal = tones(2, 48000, 1000) + tones(2, 48000, 12000, level=0.4)
    samples = read_audio(record(tmp_path / "a.wav", signal, 48000)).samples
    assert len(samples) == 2 * RATE
    expected = tones(2, RATE, 1000)[0]
    assert np.abs(samples - expected)[200:-200].max() < 0.02


def test_the_rate_of_the_path_passes_unchanged(tmp_path):
    signal = np.random.default_rng(0).uniform(-1, 1, (1, RATE))
    samples = read_audio(record(tmp_path / "a.wav", signal, RATE)).samples
    assert np.abs(samples - signal[0]).max() <= 2.5 / 32768


def test_stereo_is_the_mean_and_never_overflows(tmp_path):
    path = record(tmp_path / "a.wav", tones(1, RATE, 300, 700, level=1.0), RATE)
    samples = read_audio(path).samples
    assert strength(samples, 300) == pytest.approx(0.5, abs=0.01)
    assert strength(samples, 700) == pytest.approx(0.5, abs=0.01)
    opposite = tones(1, RATE, 300)[[0, 0]] * [[1], [-1]]
    assert read_audio(record(tmp_path / "b.wav", opposite, RATE)).silent


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp4", "aac"), ("a.mkv", "flac")])
def test_five_point_one_is_mixed_by_the_standard_matrix(tmp_path, name, codec):
    hertz = {"FL": 300, "FR": 500, "FC": 700, "LFE": 60, "SL": 1100, "SR": 1300}
    sound = read_audio(record(tmp_path / name, tones(2, 48000, *hertz.values(), level=0.9), 48000, codec, "5.1"))
    assert sound.channels == 6
    gains = {channel: strength(sound.samples[8000:24000], f) / 0.9 for channel, f in hertz.items()}
    unit = 1 / (2 + np.sqrt(2) + 2 * np.sqrt(0.5))
    expected = {"FL": 1, "FR": 1, "FC": np.sqrt(2), "LFE": 0, "SL": np.sqrt(0.5), "SR": np.sqrt(0.5)}
    for channel, weight in expected.items():
        assert gains[channel] == pytest.approx(weight * unit, abs=0.01)
    assert np.abs(sound.samples).max() <= 1


def test_channels_of_unknown_position_are_averaged(tmp_path):
    path = record(tmp_path / "a.wav", tones(1, RATE, 300, 500, 700, 900, 1100, 1300), RATE)
    data = bytearray(path.read_bytes())
    at = data.find(b"fmt ") + 8 + 20  # the channel mask of WAVE_FORMAT_EXTENSIBLE
    assert data[at : at + 4] != bytes(4)
    data[at : at + 4] = bytes(4)
    path.write_bytes(bytes(data))
    samples = read_audio(path).samples
    assert [strength(samples, f) for f in range(300, 1400, 200)] == pytest.approx([0.5 / 6] * 6, abs=0.002)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0])
def test_only_what_is_wanted_is_decoded(tmp_path, seconds):
    path = record(tmp_path / "a.mp4", tones(3, 44100, 440, 440), codec="aac")
    whole, part = read_audio(path), read_audio(path, seconds)
    assert len(part.samples) == round(seconds * RATE)
    assert np.array_equal(part.samples, whole.samples[: len(part.samples)])


def test_digital_silence_is_told_from_quiet(tmp_path):
    silent = record(tmp_path / "silent.mp4", np.zeros((2, 44100)), codec="aac")
    quiet = record(tmp_path / "quiet.wav", tones(1, RATE, 440, level=0.001), RATE)
    sound = read_audio(silent)
    assert sound.silent
    assert sound.note == "digital silence"
    assert sound.metadata["silent"]
    assert not read_audio(quiet).silent
    assert read_audio(quiet).note == ""
    assert audio.listen(silent, Listening()) == Failure("empty", "digital silence")
    assert audio.listen(silent, Listening(keep_silence=True)).silent
    assert not audio.listen(quiet, Listening()).silent


def test_a_silent_start_is_not_a_silent_clip_and_late_sound_loses_its_lead(tmp_path):
    signal = np.concatenate([np.zeros((1, RATE)), tones(1, RATE, 440)], axis=1)
    assert not read_audio(record(tmp_path / "a.wav", signal, RATE)).silent
    late = read_audio(record(tmp_path / "late.ts", tones(1, 48000, 440), 48000, "aac", start=7.0))
    assert late.seconds == pytest.approx(1, abs=0.1)


def test_statuses(tmp_path, make_clip):
    picture = make_clip(tmp_path / "picture.mp4")
    (tmp_path / "nothing.wav").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(50_000))
    assert read_audio(picture) == Failure("empty", "no audio stream")
    assert read_audio(tmp_path / "nothing.wav") == Failure("empty", "the file has 0 bytes")
    assert read_audio(tmp_path / "gone.wav") == Failure("missing", "no such file")
    assert read_audio(tmp_path) == Failure("missing", "a folder, not a file")
    assert read_audio(tmp_path / "noise.mp4").status == "undecodable"


@pytest.mark.parametrize(("at", "value"), [(24, 1), (24, 2_000_000_000), (22, 100)])
def test_headers_that_declare_no_sound_of_this_world(tmp_path, at, value):
    data = bytearray(record(tmp_path / "a.wav", tones(0.2, RATE, 440), RATE).read_bytes())
    size = 4 if at == 24 else 2
    data[at : at + size] = value.to_bytes(size, "little")
    (tmp_path / "a.wav").write_bytes(bytes(data))
    assert read_audio(tmp_path / "a.wav").status == "undecodable"


def test_damaged_packets_are_counted_and_the_rest_is_used(tmp_path):
    path = record(tmp_path / "a.mp4", tones(4, 44100, 440), codec="aac")
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 3000
    data[middle : middle + 1500] = np.random.default_rng(0).bytes(1500)
    path.write_bytes(bytes(data))
    sound = read_audio(path)
    assert "packets do not decode" in sound.note
    assert 2 < sound.seconds < 4.2


def test_a_stream_that_changes_its_channels_and_rate_on_the_way(tmp_path):
    first = record(tmp_path / "a.aac", tones(1, 44100, 440), 44100, "aac").read_bytes()
    second = record(tmp_path / "b.aac", tones(1, 22050, 440, 440), 22050, "aac").read_bytes()
    (tmp_path / "c.aac").write_bytes(first + second)
    sound = read_audio(tmp_path / "c.aac")
    assert sound.seconds == pytest.approx(2, abs=0.2)
    for start in (4000, 22000):
        assert strength(sound.samples[start : start + 8000], 440) == pytest.approx(0.5, rel=0.06)


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_sounds_the_default_one(tmp_path, default):
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("flac", rate=RATE, layout="mono") for _ in range(2)]
        streams[default].disposition = av.stream.Disposition.default
        for stream, hertz in zip(streams, (300, 700), strict=True):
            fill(container, stream, tones(1, RATE, hertz), RATE, "flac", "mono")
    samples = read_audio(tmp_path / "a.mkv").samples
    heard = [strength(samples, hertz) > 0.4 for hertz in (300, 700)]
    assert heard == [default == 0, default == 1]


def test_too_long_a_sound_is_refused_unless_an_end_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MAX_CLIP_BYTES", 4 * RATE)
    path = record(tmp_path / "a.wav", tones(2, RATE, 440), RATE)
    assert read_audio(path).status == "error"
    assert "max_seconds" in read_audio(path).reason
    assert read_audio(path, 0.9).seconds == 0.9


def test_keys_name_what_decides_the_samples():
    keys = [Listening(), Listening(30.0), Listening(None), Listening(keep_silence=True)]
    assert len({str(wanted.key) for wanted in keys}) == 4
    assert Listening().key == {"version": 1, "rate": 16000, "seconds": 240.0, "silence": "empty"}


# The real worker, except that some names make its decoder read a null pointer or hang without letting go.
TROUBLE = """
import ctypes
from feature_extractors.media import audio
whole = audio.read_audio
def read_audio(path, *rest):
    if "crash" in path.name:
        ctypes.string_at(0)
    if "hang" in path.name:
        ctypes.PyDLL(None).sleep(60)
    return whole(path, *rest)
audio.read_audio = read_audio
from feature_extractors.media import worker
worker.main()
"""


def test_sound_comes_through_decoding_processes_and_a_crash_or_a_hang_costs_one_clip(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(TROUBLE)
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, str(script)))
    names = ["a.mp4", "crash.mp4", "b.mp4", "hang.mp4", "c.mp4"]
    paths = [record(tmp_path / name, tones(0.5, 44100, 440, 440), codec="aac") for name in names]
    paths.append(record(tmp_path / "silent.wav", np.zeros((1, 8000)), RATE))
    with pool.DecodePool(1, Listening(seconds=0.25), limit=12.0) as decoders:
        a, crash, b, hang, c, silent = decoders.map(paths, ahead=3)
    assert crash == Failure("error", "the decoder crashed (SIGSEGV)")
    assert hang == Failure("error", "decoding took longer than 12 s")
    assert silent == Failure("empty", "digital silence")
    here = read_audio(paths[0], 0.25)
    for sound in (a, b, c):
        assert np.array_equal(sound.samples, here.samples)
        assert sound.samples.flags.writeable
        assert sound.metadata == here.metadata
