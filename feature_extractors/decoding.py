"""Decoding in processes of their own: a crash or a hang costs one clip, and the model never waits for a decoder."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from feature_extractors.frames import FramePolicy
from feature_extractors.media import Clip, Failure, deadline

# Decoded frames that may wait for the model, in bytes: 1080p clips are 50 MB each.
WAITING_BYTES = 1 << 29
# -P: a file in the working folder must not shadow a package.
COMMAND = (sys.executable, "-P", "-m", "feature_extractors.decode_worker")


class DecodePool:
    """Decoding processes, restarted when one dies.

    Parameters
    ----------
    workers
        Number of processes.
    policy
        Which frames to keep.
    limit
        Seconds per clip instead of `media.deadline`, for tests.

    Examples
    --------
    >>> with DecodePool(1, frames.parse("uniform:8")) as pool:  # doctest: +SKIP
    ...     clips = list(pool.map([Path("a.mp4"), Path("b.mp4")], ahead=32))
    """

    def __init__(self, workers: int, policy: FramePolicy, limit: float | None = None) -> None:
        self._policy = policy
        self._limit = limit
        self._own = threading.local()
        self._processes: set[subprocess.Popen] = set()
        self._threads = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all processes, whatever they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.kill()
        self._threads.shutdown(wait=True)
        for process in list(self._processes):
            _reap(process)

    def map(self, paths: Sequence[Path], ahead: int) -> Iterator[Clip | Failure]:
        """Decode in order, at most `ahead` clips before they are asked for.

        Yields
        ------
        Clip | Failure
            One per path, in the order of `paths`.
        """
        todo, waiting = iter(paths), deque[Future[Clip | Failure]]()
        exhausted = False
        while True:
            while not exhausted and len(waiting) < max(1, ahead) and _held(waiting) < WAITING_BYTES:
                path = next(todo, None)
                if path is None:
                    exhausted = True
                else:
                    waiting.append(self._threads.submit(self._decode, path))
            if not waiting:
                return
            yield waiting.popleft().result()

    def _decode(self, path: Path) -> Clip | Failure:
        process = self._process()
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert isinstance(answers, io.BufferedReader)
        size = Path(path).stat().st_size if Path(path).exists() else 0
        clock = _Deadline(process, self._limit or deadline(size))
        try:
            request = json.dumps({"path": str(Path(path).absolute()), "frames": self._policy.key})
            requests.write(request.encode() + b"\n")
            requests.flush()
            while True:
                answer = json.loads(answers.readline() or b"null")
                if answer is None:
                    return self._died(process, clock)
                if "duration" in answer:
                    clock.extend(self._limit or deadline(size, answer["duration"]))
                elif answer["status"] != "ok":
                    return Failure(answer["status"], answer["reason"])
                else:
                    frames = np.empty(answer.pop("shape"), dtype=np.uint8)
                    answer.pop("status")
                    if answers.readinto(frames.reshape(-1).data) != frames.nbytes:
                        return self._died(process, clock)
                    return Clip(frames, **answer)
        except OSError:  # the pipe broke: the process is gone
            return self._died(process, clock)
        finally:
            clock.stop()

    def _process(self) -> subprocess.Popen:
        process = getattr(self._own, "process", None)
        if process is None or process.poll() is not None:
            process = _start()
            self._own.process = process
            self._processes.add(process)
        return process

    def _died(self, process: subprocess.Popen, clock: _Deadline) -> Failure:
        self._processes.discard(process)
        code = _reap(process)
        if clock.passed:
            return Failure("error", f"decoding took longer than {clock.seconds:.0f} s")
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Failure("error", f"the decoder crashed ({cause})")


class _Deadline:
    """Kills a process that takes too long, which ends the pipe that its thread is reading."""

    def __init__(self, process: subprocess.Popen, seconds: float) -> None:
        self._process = process
        self.passed = False
        self._arm(seconds)

    def _arm(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer = threading.Timer(seconds, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def _kill(self) -> None:
        self.passed = True
        self._process.kill()

    def extend(self, seconds: float) -> None:
        """Start again with a new limit."""
        self._timer.cancel()
        self._arm(seconds)

    def stop(self) -> None:
        """Let the process live."""
        self._timer.cancel()


def _start() -> subprocess.Popen:
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **single},
        # A group of its own: Ctrl-C on the terminal reaches the run, which then ends its decoders in order.
        start_new_session=True,
    )


def _reap(process: subprocess.Popen) -> int:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what a dead process did not read
                pipe.close()
    process.kill()
    return process.wait()


def _held(waiting: deque[Future[Clip | Failure]]) -> int:
    done: list[Any] = [future.result() for future in waiting if future.done() and not future.cancelled()]
    return sum(clip.frames.nbytes for clip in done if isinstance(clip, Clip))
