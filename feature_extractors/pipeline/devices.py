"""One extraction on several devices: a worker process each, one store, one summary.

Every worker fills a part of the items, the same parts that `--shard` makes: no batch is split, so the store ends as one
run over everything would leave it.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.pipeline import sharding
from feature_extractors.pipeline.device_worker import Order
from feature_extractors.pipeline.interrupt import GRACE, Interrupt
from protocols.errors import BenchError, UserError
from protocols.features import Features
from protocols.progress import Progress, Task
from protocols.wording import counted

COMMAND = (sys.executable, "-P", "-m", "feature_extractors.pipeline.device_worker")
# Files that a Linux machine with a GPU has: of NVIDIA, of AMD, and of the Windows Subsystem for Linux.
GPU_NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
# A worker that dies is started again this often.
RESTARTS = 1


def parse_devices(text: str) -> list[str]:
    """Read `0,1,2,3` as four GPUs, and torch's own names as they are.

    Examples
    --------
    >>> parse_devices("0,2"), parse_devices("cpu,cpu")
    (['cuda:0', 'cuda:2'], ['cpu', 'cpu'])

    Raises
    ------
    UserError
        If there is none.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError(f"--devices {text!r} names no device", remedy="--devices 0,1 for two GPUs")
    return [f"cuda:{word}" if word.isdecimal() else word for word in words]


def choose_device(word: str, simulated: bool = False) -> str:
    """Replace `auto` by the best device of this machine: cuda, mps or cpu; cpu for the small models of simulated data.

    Examples
    --------
    >>> choose_device("cuda:1"), choose_device("auto", simulated=True)
    ('cuda:1', 'cpu')
    """
    if word != "auto":
        return word
    if simulated:
        return "cpu"
    if sys.platform == "linux" and not any(Path(node).exists() for node in GPU_NODES):
        return "cpu"  # without an import of torch
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises
    ------
    UserError
        Saying which ones there are.
    """
    if device == "cpu":
        return
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device {device!r} is none that torch knows", remedy="cpu, cuda, cuda:1") from error
    if wanted.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (wanted.index or 0) >= count:
            there = f"torch sees {counted(count, 'GPU')}" if count else "torch sees no GPU"
            raise UserError(f"device {device!r} is not there: {there}", remedy="see `nvidia-smi`, or use --device cpu")


def gpu_uuid(device: str) -> str:
    """Return the UUID of a GPU of CUDA as NVIDIA's tools know it; "" for any other device, or where torch sees none."""
    if not device.startswith("cuda"):
        return ""
    import torch

    if not torch.cuda.is_available():  # a model that another process runs, as vLLM does
        return ""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def extract_on(
    devices: Sequence[str],
    extractor: Extractor,
    source: ItemSource,
    context: ExtractContext,
    shard: tuple[int, int] = (0, 1),
) -> Features | None:
    """Extract on several devices at once.

    Ctrl-C lets every worker finish the batch it has in hand. A worker that dies (memory, a crash in native code) is
    reported and started again once; it goes on where it was.

    Parameters
    ----------
    devices
        One worker each; a device may be named twice.
    extractor, source, context
        As in `Extractor.extract`; `context.device` is not used.
    shard
        (i, n): this machine's part of several machines', already applied to `context.only`.

    Returns
    -------
    Features
        Of all items, as they stand in the store afterwards; None: the extractor has none.

    Raises
    ------
    BenchError
        If a worker died again, or what a worker raised.
    KeyboardInterrupt
        After Ctrl-C, when all workers have ended.
    """
    index, count = shard
    workers = []
    for number, device in enumerate(devices):
        part = index + count * number, count * len(devices)
        only = sharding.choose(source.item_ids, context.only, part)
        assert only is not None
        if only:
            inner = replace(context, device=device, only=only, part="{}of{}".format(*part))
            workers.append(_Worker(_name(devices, number), Order(extractor, source, inner)))
    with Interrupt(grace=None) as interrupt:  # each worker has its own
        _Crew(workers, context.progress).work(interrupt)
    return extractor.extract(source, replace(context, overwrite="never"))


def _name(devices: Sequence[str], number: int) -> str:
    device = devices[number]
    return device if devices.count(device) == 1 else f"{device} ({devices[: number + 1].count(device)})"


@dataclass(eq=False)
class _Worker:
    """One device's process and what it has reported."""

    name: str
    order: Order
    deaths: int = 0
    done: int = 0
    end: dict[str, Any] | None = None
    process: subprocess.Popen | None = None
    errors: IO[bytes] | None = None
    shown: ExitStack = field(default_factory=ExitStack)
    task: Task | None = None

    def start(self, messages: queue.Queue) -> None:
        """Start the process, and a thread that passes on its reports, None at the end."""
        self.end, self.done = None, 0
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            # A group of its own: Ctrl-C on the terminal reaches us, and we ask the workers to end in order.
            start_new_session=True,
        )
        self.process = process

        def listen() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(OSError):  # it died already
                process.stdin.write(self.order.packed())
                process.stdin.flush()
            for line in process.stdout:
                messages.put((self, json.loads(line)))
            process.wait()
            messages.put((self, None))

        threading.Thread(target=listen, daemon=True).start()

    def stop(self) -> None:
        """Ask it to finish the batch in hand."""
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            self.process.stdin.close()

    def hear(self, message: dict[str, Any], progress: Progress) -> None:
        """Show what it reports."""
        if "task" in message:
            title = f"{message['task']} on {self.name}"
            self.task, self.done = self.shown.enter_context(progress.task(title, message["total"])), 0
        elif "advance" in message and self.task is not None:
            self.task.advance(message["advance"], message["note"])
            self.done += message["advance"]
        elif "closed" in message:
            self.shown.close()
        elif "say" in message:
            progress.say(f"{self.name}: {message['say']}")
        elif "end" in message:
            self.end = message

    def cause(self) -> str:
        """Why it died: a signal or an exit code, and the last line it wrote."""
        assert self.process is not None
        assert self.errors is not None
        code = self.process.wait()
        self.errors.seek(0)
        last = self.errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        return (signal.Signals(-code).name if code < 0 else f"exit code {code}") + (f": {last}" if last else "")

    def close(self) -> None:
        """End it, whatever it is doing."""
        self.shown.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.errors is not None:
            self.errors.close()


class _Crew:
    """All workers of one extraction."""

    def __init__(self, workers: Sequence[_Worker], progress: Progress) -> None:
        self._workers, self._progress = workers, progress
        self._told: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._stopped = False

    def work(self, interrupt: Interrupt) -> None:
        """Run until every worker has ended."""
        try:
            for worker in self._workers:
                worker.start(self._told)
            running = len(self._workers)
            while running:
                if interrupt.asked and not self._stopped:
                    self._progress.say(f"Ctrl-C: every worker finishes the batch in hand, for at most {GRACE:.0f} s")
                    self._stop()
                with suppress(queue.Empty):
                    worker, message = self._told.get(timeout=0.2)
                    if message is not None:
                        worker.hear(message, self._progress)
                    elif not self._ended(worker):
                        running -= 1
        finally:
            for worker in self._workers:
                worker.close()
        self._raise(interrupt)

    def _stop(self) -> None:
        self._stopped = True
        for worker in self._workers:
            worker.stop()

    def _ended(self, worker: _Worker) -> bool:
        """Look at a worker whose process is gone; True if it was started again."""
        worker.shown.close()
        if worker.end is not None:
            if worker.end["end"] == "error" and not self._stopped:
                self._stop()  # what one of them cannot do, the others cannot either
            return False
        worker.deaths += 1
        died = f"the worker on {worker.name} died ({worker.cause()}) after {counted(worker.done, 'item')} of a stage"
        again = worker.deaths <= RESTARTS and not self._stopped
        self._progress.say(f"{died}; {'it is started again and goes on' if again else 'the others go on'}")
        if again:
            worker.close()
            worker.start(self._told)
        return again

    def _raise(self, interrupt: Interrupt) -> None:
        for worker in self._workers:
            if worker.end is not None and worker.end["end"] == "error":
                kind = UserError if worker.end["code"] == UserError.exit_code else BenchError
                raise kind(worker.end["message"], remedy=worker.end["remedy"])
        if interrupt.asked:
            kept = [
                f"{worker.name}: {worker.end['message'].partition(';')[0] or 'stopped'}"
                for worker in self._workers
                if worker.end is not None and worker.end["end"] == "interrupted"
            ]
            raise KeyboardInterrupt("; ".join([*kept, "run the same command again to go on"]))
        dead = [worker.name for worker in self._workers if worker.end is None]
        if dead:
            raise BenchError(
                f"the workers on {', '.join(dead)} died again and again: their parts are not finished",
                remedy="run the same command again to go on where they were, or leave these devices out",
            )
