"""Decoding in other processes: same frames, and a crash or a hang costs one clip."""

import sys
import time

import numpy as np
import pytest

from feature_extractors import decoding, frames, media

POLICY = frames.parse("uniform:4")

# The real worker, except that some names make its decoder crash, hang, talk or exit.
TROUBLE = """
import os, signal, sys, time
from feature_extractors import decode_worker, media
whole = media.decode
def decode(path, policy, probed):
    if "crash" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in path.name:
        probed(0.0)
        time.sleep(60)
    if "exit" in path.name:
        os._exit(3)
    if "bug" in path.name:
        raise KeyError("surprise")
    print("decoders talk on standard output")
    return whole(path, policy, probed)
media.decode = decode
decode_worker.main()
"""


@pytest.fixture
def trouble(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(TROUBLE)
    monkeypatch.setattr(decoding, "COMMAND", (sys.executable, str(script)))


@pytest.mark.parametrize("workers", [1, 3])
def test_clips_come_in_order_as_decoded_here(tmp_path, make_clip, workers):
    paths = [make_clip(tmp_path / f"{i} 'é.mp4", seed=i, frames=5 + 10 * (i % 3)) for i in range(7)]
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    paths.insert(3, tmp_path / "bad.mp4")
    with decoding.DecodePool(workers, POLICY) as pool:
        clips = list(pool.map(paths, ahead=4))
    for path, clip in zip(paths, clips, strict=True):
        here = media.decode(path, POLICY)
        if isinstance(here, media.Failure):
            assert clip == here
        else:
            assert np.array_equal(clip.frames, here.frames)
            assert clip.metadata == here.metadata
            assert clip.frames.flags.writeable


def test_a_crash_costs_one_clip(tmp_path, make_clip, trouble):
    names = ["a.mp4", "crash.mp4", "b.mp4", "exit.mp4", "bug.mp4", "c.mp4"]
    paths = [make_clip(tmp_path / name) for name in names]
    with decoding.DecodePool(1, POLICY) as pool:
        a, crash, b, ended, bug, c = pool.map(paths, ahead=2)
    assert crash == media.Failure("error", "the decoder crashed (SIGSEGV)")
    assert ended == media.Failure("error", "the decoder crashed (exit code 3)")
    assert bug == media.Failure("error", "KeyError: 'surprise'")
    assert np.array_equal(a.frames, b.frames)
    assert np.array_equal(a.frames, c.frames)


def test_a_hang_costs_one_clip_and_its_deadline(tmp_path, make_clip, trouble):
    paths = [make_clip(tmp_path / name) for name in ("hang.mp4", "a.mp4")]
    clock = time.monotonic()
    with decoding.DecodePool(1, POLICY, limit=6.0) as pool:
        hang, a = pool.map(paths, ahead=2)
    assert hang == media.Failure("error", "decoding took longer than 6 s")
    assert len(a.frames) == 4
    assert time.monotonic() - clock < 40


def test_closing_leaves_no_process_behind(tmp_path, make_clip, trouble):
    pool = decoding.DecodePool(2, POLICY)
    clips = pool.map([make_clip(tmp_path / "a.mp4"), make_clip(tmp_path / "hang.mp4")], ahead=2)
    next(clips)
    processes = list(pool._processes)
    pool.close()
    assert processes
    assert all(process.poll() is not None for process in processes)


def test_decoded_clips_wait_within_bounds(tmp_path, make_clip, monkeypatch):
    started = []
    real = decoding.DecodePool._decode
    monkeypatch.setattr(decoding.DecodePool, "_decode", lambda self, path: started.append(path) or real(self, path))
    paths = [make_clip(tmp_path / f"{i}.mp4") for i in range(12)]
    with decoding.DecodePool(1, POLICY) as pool:
        clips = pool.map(paths, ahead=3)
        next(clips)
        time.sleep(0.5)
        assert len(started) <= 4


def test_a_worker_ends_when_its_input_ends():
    process = decoding._start()
    process.stdin.close()
    assert process.wait(timeout=30) == 0
