"""Decoding process: reads requests on standard input, writes frames or samples to standard output.

Started by `pool.DecodePool` as `python -m feature_extractors.media.worker`, so that a decoder that crashes or
hangs takes one clip with it and not the run. Imports numpy and PyAV, never torch.

A request is one line of JSON, {path, KIND}, with one of `request_kinds`; a path is a text, or the fields of a
`RemoteFile`. The answer is a line {duration} as soon as the
header is read, then a line with either the fields of a `Failure` or the shape of the kind's array and its other fields,
followed by the array as raw bytes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from feature_extractors.media import request_kinds
from feature_extractors.media.container import file_size
from feature_extractors.media.remote_file import RemoteFile, Source, seconds_to_read
from feature_extractors.media.result import Failure
from feature_extractors.media.video import deadline

# Private memory of a decoding process, where the system counts it: what a hostile header may cost at most.
MEMORY_BYTES = 4 << 30


def main() -> None:
    """Serve requests until standard input ends."""
    # Ctrl-C is the parent's to handle: it finishes the batch in hand, and needs us for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Decoders print to standard output and error at times: the answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Errors of a decoder reach the run as statuses; its own messages are dropped.
    _silence()
    _bound_memory()
    for line in sys.stdin.buffer:
        _answer(json.loads(line), answers)


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    path: Source = Path(request["path"]) if isinstance(request["path"], str) else RemoteFile(**request["path"])
    size, patience = file_size(path), 2 * seconds_to_read(path)

    def on_duration(duration: float | None) -> None:
        _end_after(2 * deadline(size, duration) + patience)
        _send(answers, {"duration": duration})

    _end_after(2 * deadline(size) + patience)
    kind = request_kinds.kind_of_message(request)
    found: request_kinds.Media | Failure
    try:
        found = kind.decode(path, kind.from_json(request[kind.name]), on_duration)
    except MemoryError:
        found = Failure("error", "decoding it does not fit into memory")
    except Exception as error:
        found = Failure("error", f"{type(error).__name__}: {error}", unexpected=True)
    _end_after(0)
    if isinstance(found, Failure):
        _send(answers, vars(found))
        return
    payload = request_kinds.array_of(found)
    header = {key: value for key, value in vars(found).items() if value is not payload}
    _send(answers, {"status": "ok", "shape": payload.shape, **header}, payload)


def _end_after(seconds: float) -> None:
    """End this process after some seconds: a parent that was killed cannot end a decoder that hangs."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _send(answers: BinaryIO, header: dict[str, Any], payload: np.ndarray | None = None) -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    if payload is not None:
        answers.write(np.ascontiguousarray(payload).reshape(-1).view(np.uint8).data)
    answers.flush()


def _bound_memory() -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or hard > MEMORY_BYTES:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard))


def _silence() -> None:
    import av.logging

    av.logging.set_level(av.logging.PANIC)


if __name__ == "__main__":
    main()
