"""Decoding in other processes: same frames, and a crash or a hang costs one clip."""

import sys
import threading
import time

import numpy as np
import pytest

from feature_extractors.media import frame_policy, pool, video
from feature_extractors.media.result import Failure

POLICY = frame_policy.parse("uniform:4")

# The real worker, except that some names make its decoder crash, hang, talk or exit.
TROUBLE = """
import ctypes, os, signal, sys, time
from feature_extractors.media import video
whole = video.decode
def half(answers, *rest):
    answers.write(b'{"sta')
    answers.flush()
    os._exit(4)
def decode(path, policy, probed):
    if "crash" in path.name:
        ctypes.string_at(0)
    if "deaf" in path.name:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM, signal.SIGINT})
        ctypes.PyDLL(None).sleep(60)
    if "hang" in path.name:
        probed(0.0)
        time.sleep(60)
    if "killed" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "exit" in path.name:
        os._exit(3)
    if "half" in path.name:
        worker._send = half
    if "bug" in path.name:
        raise KeyError("surprise")
    print("decoders talk on standard output")
    return whole(path, policy, probed)
video.decode = decode
from feature_extractors.media import worker
worker.main()
"""


@pytest.fixture
def trouble(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(TROUBLE)
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, str(script)))


@pytest.mark.parametrize("workers", [1, 3])
def test_clips_come_in_order_as_decoded_here(tmp_path, make_clip, workers):
    paths = [make_clip(tmp_path / f"{i} 'é.mp4", seed=i, frames=5 + 10 * (i % 3)) for i in range(7)]
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    paths.insert(3, tmp_path / "bad.mp4")
    with pool.DecodePool(workers, POLICY) as decoders:
        clips = list(decoders.map(paths, ahead=4))
    for path, clip in zip(paths, clips, strict=True):
        here = video.decode(path, POLICY)
        if isinstance(here, Failure):
            assert clip == here
        else:
            assert np.array_equal(clip.frames, here.frames)
            assert clip.metadata == here.metadata
            assert clip.frames.flags.writeable


def test_a_crash_costs_one_clip(tmp_path, make_clip, trouble):
    names = ["a.mp4", "crash.mp4", "b.mp4", "exit.mp4", "bug.mp4", "killed.mp4", "half.mp4", "c.mp4"]
    paths = [make_clip(tmp_path / name) for name in names]
    with pool.DecodePool(1, POLICY) as decoders:
        a, crash, b, ended, bug, killed, half, c = decoders.map(paths, ahead=2)
    assert crash == Failure("error", "the decoder crashed (SIGSEGV)")
    assert killed == Failure("error", "the decoder crashed (SIGKILL)")
    assert half == Failure("error", "the decoder crashed (exit code 4)")
    assert ended == Failure("error", "the decoder crashed (exit code 3)")
    assert bug == Failure("error", "KeyError: 'surprise'")
    assert np.array_equal(a.frames, b.frames)
    assert np.array_equal(a.frames, c.frames)


def test_a_hang_costs_one_clip_and_its_deadline(tmp_path, make_clip, trouble):
    """One worker hangs where it can be interrupted, one in C with the interpreter and all signals blocked."""
    paths = [make_clip(tmp_path / name) for name in ("hang.mp4", "deaf.mp4", "a.mp4", "b.mp4")]
    clock = time.monotonic()
    with pool.DecodePool(2, POLICY, limit=10.0) as decoders:
        hang, deaf, a, b = decoders.map(paths, ahead=4)
        assert hang == deaf == Failure("error", "decoding took longer than 10 s")
        assert len(a.frames) == len(b.frames) == 4
    assert time.monotonic() - clock < 40


def test_a_pool_whose_every_clip_crashes_ends(tmp_path, make_clip, trouble):
    path = make_clip(tmp_path / "crash.mp4")
    with pool.DecodePool(2, POLICY) as decoders:
        found = list(decoders.map([path] * 6, ahead=4))
        assert {failure.reason for failure in found} == {"the decoder crashed (SIGSEGV)"}
        assert not decoders._processes


def test_a_decoder_that_cannot_start_says_why(tmp_path, make_clip, monkeypatch):
    broken = [sys.executable, "-c", "import no_such_module"]
    monkeypatch.setattr(pool, "COMMAND", broken)
    with pool.DecodePool(1, POLICY) as decoders:
        (found,) = decoders.map([make_clip(tmp_path / "a.mp4")], ahead=1)
    reason = "the decoder crashed (exit code 1: ModuleNotFoundError: No module named 'no_such_module')"
    assert found == Failure("error", reason)
    assert found.unexpected


def test_closing_leaves_no_process_behind(tmp_path, make_clip, trouble):
    decoders = pool.DecodePool(2, POLICY)
    clips = decoders.map([make_clip(tmp_path / "a.mp4"), make_clip(tmp_path / "hang.mp4")], ahead=2)
    next(clips)
    processes = list(decoders._processes)
    decoders.close()
    assert processes
    assert all(process.poll() is not None for process in processes)


def test_a_process_that_starts_while_the_pool_closes_ends_too(tmp_path, make_clip, trouble, monkeypatch, wait_until):
    starting, go_on, processes, real = threading.Event(), threading.Event(), [], pool._start

    def start():
        starting.set()
        go_on.wait(20)
        processes.append(real())
        return processes[0]

    monkeypatch.setattr(pool, "_start", start)
    decoders = pool.DecodePool(1, POLICY)
    decoders.submit(decoders._decode, make_clip(tmp_path / "hang.mp4"))
    assert starting.wait(20)
    closing = threading.Thread(target=decoders.close, daemon=True)
    closing.start()
    wait_until(lambda: decoders._closed, 20)
    time.sleep(0.2)
    go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert processes[0].poll() is not None


def test_decoded_clips_wait_within_bounds(tmp_path, make_clip, monkeypatch):
    started = []
    real = pool.DecodePool._decode
    monkeypatch.setattr(pool.DecodePool, "_decode", lambda self, path: started.append(path) or real(self, path))
    paths = [make_clip(tmp_path / f"{i}.mp4") for i in range(12)]
    with pool.DecodePool(1, POLICY) as decoders:
        clips = decoders.map(paths, ahead=3)
        next(clips)
        time.sleep(0.5)
        assert len(started) <= 4


def test_decoded_bytes_that_wait_are_bounded(tmp_path, make_clip, monkeypatch, wait_until):
    held = []
    real = pool.DecodePool._decode

    def watched(self, path):
        held.append(window._held)
        return real(self, path)

    paths = [make_clip(tmp_path / f"{i}.mp4") for i in range(10)]
    monkeypatch.setattr(pool.DecodePool, "_decode", watched)
    clip = 4 * 64 * 64 * 3
    monkeypatch.setattr(pool, "WAITING_BYTES", 2 * clip)
    with pool.DecodePool(1, POLICY) as decoders:
        window = pool._Window(decoders, paths, ahead=10)
        for number in range(10):
            found = window.next().result()
            if number == 0:
                wait_until(lambda: window._held >= 2 * clip, 20)
                time.sleep(0.5)
                # Two wait and none is in work, although ten may be ahead.
                assert window._held == 2 * clip
                assert len(held) == 2
            assert np.array_equal(found.frames, video.decode(paths[number], POLICY).frames)
            window.taken(found)
        assert window.next() is None
    assert len(held) == 10
    assert max(held) <= 2 * clip


def test_the_next_clip_is_decoded_while_the_last_one_is_in_use(tmp_path, make_clip, wait_until):
    paths = [make_clip(tmp_path / f"{i}.mp4") for i in range(5)]
    with pool.DecodePool(1, POLICY) as decoders:
        clips = decoders.map(paths, ahead=4)
        next(clips)
        window = clips.gi_frame.f_locals["window"]
        wait_until(lambda: window._waiting and all(f.done() for f in window._waiting), 20)
        assert len(window._waiting) == 4
        assert all(future.done() for future in window._waiting)


def test_a_deadline_that_passes_after_the_answer_kills_nobody():
    process = pool._start()
    clock = pool._Deadline(process, 60.0)
    clock.stop()
    clock._kill()
    assert not clock.passed
    assert process.poll() is None
    pool._reap(process)


def test_a_worker_ends_when_its_input_ends():
    process = pool._start()
    process.stdin.close()
    assert process.wait(timeout=30) == 0
