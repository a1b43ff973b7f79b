"""Pool of decoding processes: a crash or a hang costs one clip, and decoding runs ahead of the model."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from feature_extractors.media import request_kinds
from feature_extractors.media.container import file_size
from feature_extractors.media.hashed_file import HashedFile
from feature_extractors.media.remote_file import RemoteFile, Source, seconds_to_read
from feature_extractors.media.request_kinds import Kind, Media, Request
from feature_extractors.media.result import Failure
from feature_extractors.media.video import deadline

Decoded = Media | Failure

# Decoded clips that may wait for the model, in bytes: eight frames of 1080p are 50 MB.
WAITING_BYTES = 1 << 29
# -P: a file in the working folder must not shadow a package.
COMMAND = (sys.executable, "-P", "-m", "feature_extractors.media.worker")


@dataclass(frozen=True, eq=False)
class Part:
    """File with a request of its own, in place of that of the pool."""

    path: Source
    request: Request


class DecodePool:
    """Pool of decoding processes, restarted when one dies.

    Parameters
    ----------
    workers
        Number of processes.
    request
        Frames (a frame policy), sound or frame times; a `Part` has its own.
    files
        Files that were hashed: nothing is returned that was decoded of other bytes. Others are read as they are.
    limit
        Seconds per clip instead of `video.deadline`, for tests.

    Attributes
    ----------
    busy
        Seconds that clips were in decoding, summed over them.

    Examples
    --------
    >>> with DecodePool(1, frame_policy.parse("uniform:8")) as pool:  # doctest: +SKIP
    ...     clips = list(pool.map([Path("a.mp4"), Path("b.mp4")], ahead=32))
    >>> with DecodePool(1, Listening(seconds=30)) as pool:  # doctest: +SKIP
    ...     sounds = list(pool.map([Path("a.mp4"), Path("b.mp4")], ahead=32))
    """

    def __init__(
        self,
        workers: int,
        request: Request,
        files: Mapping[Path, HashedFile] | None = None,
        *,
        limit: float | None = None,
    ) -> None:
        self.workers = max(1, workers)
        self.busy = 0.0
        self._request = request
        self._files = files or {}
        self._limit = limit
        self._own = threading.local()
        self._processes: set[subprocess.Popen] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all processes, whatever they are doing."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.kill()
        self._threads.shutdown(wait=True)
        for process in list(self._processes):
            _reap(process)

    def map(self, paths: Sequence[Source | Part], ahead: int) -> Iterator[Decoded]:
        """Decode in order, at most `ahead` clips and about `WAITING_BYTES` before they are asked for.

        Yields
        ------
        Clip | Sound | Timeline | Failure
            One per path, in the order of `paths`.
        """
        window = _Window(self, paths, max(1, ahead))
        while (future := window.next()) is not None:
            found = future.result()
            window.taken(found)
            yield found

    def submit(self, job: Callable[[Source | Part], Decoded], path: Source | Part) -> Future[Decoded]:
        """Run `job(path)` in a thread that owns a decoding process."""
        return self._threads.submit(job, path)

    def _decode(self, file: Source | Part) -> Decoded:
        path, request = (file.path, file.request) if isinstance(file, Part) else (file, self._request)
        hashed = self._files.get(path) if isinstance(path, Path) else None
        if hashed is None:
            return self._attempt(path, request)
        return hashed.read(lambda: self._attempt(path, request))

    def _attempt(self, path: Source, request: Request) -> Decoded:
        process = self._process()
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert isinstance(answers, io.BufferedReader)
        size, patience = file_size(path), seconds_to_read(path)
        clock = _Deadline(process, self._limit or deadline(size) + patience)
        try:
            kind = request_kinds.kind_of(request)
            message = json.dumps({"path": _as_json(path), kind.name: kind.to_json(request)})
            requests.write(message.encode() + b"\n")
            requests.flush()
            while True:
                answer = json.loads(answers.readline() or b"null")
                if answer is None:
                    return self._died(process, clock, path)
                if "status" not in answer:
                    clock.extend(self._limit or deadline(size, answer["duration"]) + patience)
                elif answer["status"] != "ok":
                    return Failure(**answer)
                else:
                    found = _receive(answer, answers, kind)
                    return self._died(process, clock, path) if found is None else found
        except (OSError, ValueError):  # the pipe broke, or half an answer came: the process is gone
            return self._died(process, clock, path)
        finally:
            clock.stop()

    def _process(self) -> subprocess.Popen:
        process = getattr(self._own, "process", None)
        if process is None or process.poll() is not None:
            process = _start()
            self._own.process = process
            self._processes.add(process)
            if self._closed:  # while it started: `close` may have looked before it was there
                process.kill()
        return process

    def _died(self, process: subprocess.Popen, clock: _Deadline, path: Source) -> Failure:
        self._processes.discard(process)
        code, last = _reap(process)
        if clock.passed:
            slow = isinstance(path, RemoteFile)  # the server, rather than the clip
            return Failure("error", f"decoding took longer than {clock.seconds:.0f} s", passing=slow)
        if code < 0:
            return Failure("error", f"the decoder crashed ({signal.Signals(-code).name})")
        cause = f"exit code {code}: {last}" if last else f"exit code {code}"
        return Failure("error", f"the decoder crashed ({cause})", unexpected=True)


def _as_json(path: Source) -> Any:
    return path.as_json() if isinstance(path, RemoteFile) else str(Path(path).absolute())


def _receive(answer: dict[str, Any], answers: io.BufferedReader, kind: Kind) -> Media | None:
    """Read the array that follows a header; None: the process died while it was sending."""
    answer.pop("status")
    values = np.empty(answer.pop("shape"), dtype=kind.dtype)
    if answers.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:
        return None
    return kind.media(values, **answer)


class _Window:
    """Clips of one `map` in work or waiting to be taken; a finished clip starts the next one, if there is room."""

    def __init__(self, pool: DecodePool, paths: Sequence[Source | Part], ahead: int) -> None:
        self._pool, self._todo, self._ahead = pool, iter(paths), ahead
        self._waiting: deque[Future[Decoded]] = deque()
        self._lock = threading.Lock()
        self._running, self._held = 0, 0

    def next(self) -> Future[Decoded] | None:
        """Return the next clip in order, which stays in the window until it is `taken`; None at the end."""
        self._fill()
        return self._waiting[0] if self._waiting else None

    def taken(self, found: Decoded) -> None:
        """Remove the first clip from the window and start others."""
        with self._lock:
            self._waiting.popleft()
            self._held -= _nbytes(found)
        self._fill()

    def _fill(self) -> None:
        with self._lock:
            # The first in order is always in work, so that those that wait for it are taken in the end.
            while len(self._waiting) < self._ahead and self._running < self._pool.workers:
                if self._waiting and self._held >= WAITING_BYTES:
                    return
                path = next(self._todo, None)
                if path is None:
                    return
                self._waiting.append(self._pool.submit(self._job, path))
                self._running += 1

    def _job(self, path: Source | Part) -> Decoded:
        found: Decoded | None = None
        clock = time.perf_counter()
        try:
            found = self._pool._decode(path)
            return found
        finally:
            with self._lock:
                self._running -= 1
                self._pool.busy += time.perf_counter() - clock
                self._held += _nbytes(found)
            with contextlib.suppress(RuntimeError):  # the pool is closing
                self._fill()


class _Deadline:
    """Time limit of a process; killing it ends the pipe that its thread is reading."""

    def __init__(self, process: subprocess.Popen, seconds: float) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._over = False
        self.passed = False
        self._arm(seconds)

    def _arm(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer = threading.Timer(seconds, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def _kill(self) -> None:
        with self._lock:
            if not self._over:
                self.passed = True
                self._process.kill()

    def extend(self, seconds: float) -> None:
        """Start again with a new limit."""
        self._timer.cancel()
        self._arm(seconds)

    def stop(self) -> None:
        """End the limit: the process goes on with the next clip."""
        with self._lock:
            self._over = True
        self._timer.cancel()


def _start() -> subprocess.Popen:
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,  # of its start; the process then closes it
        env={**os.environ, **single},
        # A group of its own: Ctrl-C on the terminal reaches the run, which then ends its decoders in order.
        start_new_session=True,
    )


def _reap(process: subprocess.Popen) -> tuple[int, str]:
    """End a process; return its exit code and the last line that it wrote to standard error while it started."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what a dead process did not read
                pipe.close()
    process.kill()
    code = process.wait()
    assert process.stderr is not None
    with process.stderr as errors:
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return code, lines[-1][:200] if lines else ""


def _nbytes(found: Decoded | None) -> int:
    return 0 if found is None or isinstance(found, Failure) else request_kinds.array_of(found).nbytes
