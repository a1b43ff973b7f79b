"""A process that extracts one part of the items on one device.

Started by `devices.extract_on` as `python -m feature_extractors.pipeline.device_worker`. On standard input comes a
length in eight bytes and a pickled `Order`, from the parent alone. Standard output carries one JSON object a line:
{task, total}, {advance, note}, {closed}, {say}, and one {end} with `done`, `interrupted` or `error`. One more byte on
standard input, or its end because the parent died, asks to finish the batch in hand, like Ctrl-C.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from protocols.errors import BenchError
from protocols.progress import Quiet


@dataclass(frozen=True)
class GoldTexts:
    """Gold texts as a call that can be sent to another process."""

    texts: Mapping[str, str]

    def __call__(self) -> Mapping[str, str]:
        """Return them."""
        return self.texts


@dataclass(frozen=True, eq=False)
class Order:
    """Order to a worker.

    Attributes
    ----------
    extractor, source
        As in `Extractor.extract`.
    context
        Of the extraction.
    """

    extractor: Extractor
    source: ItemSource
    context: ExtractContext

    def sendable(self) -> Self:
        """The same for another process: without a display."""
        source = self.source
        if source.truth is not None:
            source = replace(source, truth=GoldTexts(dict(source.truth())))
        return replace(self, source=source, context=replace(self.context, progress=Quiet(), report=None))

    def packed(self) -> bytes:
        """Length and pickle."""
        content = pickle.dumps(self.sendable())
        return len(content).to_bytes(8, "big") + content


@dataclass
class _Lines:
    """Progress display that reports to the parent."""

    out: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, **message: Any) -> None:
        """Write one line; nothing happens when the parent is gone."""
        with self.lock, suppress(OSError):
            self.out.write(json.dumps(message).encode() + b"\n")
            self.out.flush()

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[_Lines]:
        """Open a task at the parent."""
        self.send(task=title, total=total)
        try:
            yield self
        finally:
            self.send(closed=True)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Advance it."""
        self.send(advance=steps, note=note)

    def say(self, message: str) -> None:
        """Show one line at the parent."""
        self.send(say=message)


def main() -> int:
    """Work off one order."""
    # Libraries print to standard output at times: the reports get a descriptor of their own.
    lines = _Lines(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    order: Order = pickle.loads(_exactly(int.from_bytes(_exactly(8), "big")))  # noqa: S301
    threading.Thread(target=_listen, daemon=True).start()
    try:
        order.extractor.extract(order.source, replace(order.context, progress=lines))
    except KeyboardInterrupt as stopped:
        lines.send(end="interrupted", message=str(stopped))
    except BenchError as error:
        lines.send(end="error", message=str(error), remedy=error.remedy, code=error.exit_code)
    else:
        lines.send(end="done")
    return 0


def _listen() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)


def _exactly(count: int) -> bytes:
    # Not through sys.stdin: a buffered reader that waits in a thread cannot be closed at the end.
    found = bytearray()
    while len(found) < count:
        part = os.read(0, count - len(found))
        if not part:
            raise EOFError("the parent is gone")
        found += part
    return bytes(found)


if __name__ == "__main__":
    sys.exit(main())
