"""Engines: processes of this machine, or a Ray cluster, that call a function on one item after another.

An engine never decides what is done. Jobs are done when their records are there, items when the store has their rows;
an engine that loses a process, a node or its driver loses the calls in hand and nothing else.

- The unit of a grid is a job (a cell with a seed and a fold), of tuning a trial, of an extraction a part: whole blocks
  of the sorted list of all items (`feature_extractors.pipeline.sharding`). Which items share a model call depends on
  nothing but that list, so a store that many nodes have filled equals that of one process.
- Calls are pulled: an engine holds one more than run at a time, so that a node that joins has work at once and one
  that leaves takes little along. Inside a call, decoding processes run ahead of the model by two batches at most.
- Processes are kept between calls (tasks with `max_calls=0`), with the models that they have loaded. Actors would be
  the same, but for the placing of calls and the replacing of dead ones, which Ray does for tasks.
- Every process commits the rows of its part by itself. Appends to Lance do not conflict, only their numbers do, and
  these are drawn again; one committer for all would be one more process whose death has to be handled.
- Ray Data is not used: it decides what is done, by blocks of its own, and a job of it that fails begins anew.

`bench/guide/machines.md` says how far this goes, and what breaks first.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import uuid4

import psutil

from protocols import object_store
from protocols.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)

#: Seconds between two looks at calls in hand, and so at the size of a cluster.
POLL = 1.0
#: A call whose process or node was lost is made again so often.
RETRIES = 3


class Engine(Protocol[T_contra, R]):
    """Processes that call one function with what all calls share and an item.

    Attributes
    ----------
    lost
        Raised by `result` for a call whose process died.
    """

    lost: tuple[type[BaseException], ...]

    def slots(self) -> int:
        """Return how many calls run at a time; a cluster may grow and shrink."""
        ...

    def submit(self, item: T_contra) -> Future[R]:
        """Begin a call."""
        ...

    def result(self, future: Future[R]) -> R:
        """Return what a finished call returned, or raise what it raised."""
        ...


def drive(
    engine: Engine[T, R],
    items: Iterable[T],
    finish: Callable[[T, R], bool],
    died: Callable[[T], None],
    look: Callable[[], None] = lambda: None,
) -> None:
    """Work off items in the order given.

    Parameters
    ----------
    finish
        Called with each item and its result; False: it is called again, after the others.
    died
        Called with each item whose call was lost.
    look
        Called every `POLL` seconds and whenever a call has ended.
    """
    waiting, again, running = deque(items), deque[T](), dict[Future[R], T]()
    while waiting or again or running:
        if again and not waiting and not running:
            time.sleep(POLL)
            waiting, again = again, deque()
        while waiting and len(running) <= engine.slots():  # one more, so that no process waits for this one
            item = waiting.popleft()
            running[engine.submit(item)] = item
        ended = wait(running, POLL, FIRST_COMPLETED).done
        look()
        for future in ended:
            item = running.pop(future)
            try:
                if not finish(item, engine.result(future)):
                    again.append(item)
            except engine.lost:
                died(item)


class LocalEngine(Generic[T, R]):
    """Processes of this machine.

    One that dies takes all others and the calls in hand along: `result` raises BrokenProcessPool.

    Parameters
    ----------
    processes
        How many.
    call
        Function of an item.
    start, shared
        Each process begins with `start(shared)`.
    """

    lost: tuple[type[BaseException], ...] = ()

    def __init__(self, processes: int, call: Callable[[T], R], start: Callable[[Any], None], shared: Any) -> None:
        spawn = multiprocessing.get_context("spawn")  # forking a process that has loaded torch is not safe
        self._processes, self._call = processes, call
        self._pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=start, initargs=(shared,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            end_processes(self._pool)
        self._pool.shutdown()

    def slots(self) -> int:
        """Return the number of processes."""
        return self._processes

    def submit(self, item: T) -> Future[R]:
        """Call the function in some process."""
        return self._pool.submit(self._call, item)

    def result(self, future: Future[R]) -> R:
        """Return what the function returned."""
        return future.result()


def end_processes(executor: ProcessPoolExecutor) -> None:
    """End the worker processes of a pool at once, and theirs."""
    executor.shutdown(wait=False, cancel_futures=True)
    for child in psutil.Process().children(recursive=True):
        child.terminate()


class RayEngine(Generic[T, R]):
    """Calls as tasks of a Ray cluster; its nodes may come and go.

    Parameters
    ----------
    address
        As `ray.init` takes it: `auto` (the cluster that this machine is a node of), `ray://HOST:10001`, or `local`,
        which starts one on this machine for as long as this process lives.
    call
        Function of `shared` and an item. The package must be installed on all nodes.
    shared
        Sent to each node once.
    folder
        Where calls read and write: a node that does not see it refuses to work.
    device
        Torch device of the calls.
    cpus, gpus
        Of each call; a fraction of a GPU is allowed, and none is taken where the device is no GPU of CUDA.

    Raises
    ------
    UserError
        If Ray is not installed, there is no cluster at the address, or none of its nodes has what a call needs.
    """

    def __init__(
        self,
        address: str,
        call: Callable[[Any, T], R],
        shared: Any,
        folder: Path,
        device: str = "cpu",
        *,
        cpus: float = 1,
        gpus: float = 1.0,
    ) -> None:
        gpus = gpus if device.startswith("cuda") else 0.0
        ray = connected(address)
        self._ray, self._errors, self._needs = ray, ray.exceptions, {"CPU": cpus, "GPU": gpus}
        self.lost: tuple[type[BaseException], ...] = (ray.exceptions.RayError,)
        # max_calls=0: a process that holds a GPU is used again, with the models that it has loaded
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": RETRIES, "max_calls": 0}
        self._remote = ray.remote(**options)(_seeing)
        self._folder = SharedFolder(folder)
        self._shared = ray.put((self._folder, call, shared))
        self._running: dict[Future[R], Any] = {}
        if not self.slots():
            raise UserError(
                f"no node of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs: {ray.cluster_resources()}",
                remedy="add such a node, or ask for less (--jobs, --device)",
            )

    def __enter__(self) -> Self:
        self._folder.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for call in self._running.values():  # after an error or Ctrl-C
            self._ray.cancel(call, force=True)
        self._folder.__exit__()

    def slots(self) -> int:
        """Return how many calls the cluster can run at a time, all its nodes as they are now."""
        there = self._ray.cluster_resources()
        return int(min(there.get(kind, 0.0) / need for kind, need in self._needs.items() if need))

    def submit(self, item: T) -> Future[R]:
        """Make a task of one item."""
        call = self._remote.remote(self._shared, item)
        future = call.future()
        self._running[future] = call
        return future

    def result(self, future: Future[R]) -> R:
        """Return what the function returned."""
        self._running.pop(future, None)
        try:
            return future.result()
        except self._errors.RayTaskError as error:
            raise error.cause from None


def _seeing(shared: tuple[SharedFolder, Callable[[Any, T], R], Any], item: T) -> R:
    """Call a function on a node, if that sees the folder."""
    folder, call, content = shared
    folder.check()
    return call(content, item)


def connected(address: str) -> Any:
    """Connect to a Ray cluster and return the module `ray`.

    Raises
    ------
    UserError
        As `RayEngine`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # below `uv run` Ray would make an environment of its own for every worker; the package is installed on the nodes
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UserError(
            "--ray needs Ray, which is not installed", remedy="pip install 'video-rec-bench[ray]'"
        ) from error
    if not ray.is_initialized():
        where: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **where)
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"no Ray cluster at {address!r}: {error}", remedy="`ray start --head` starts one; or --ray local"
            ) from error
    return ray


class SharedFolder:
    """Folder that all nodes of a cluster see under one path; a file in it shows as much, while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._marker = folder / f".seen-{uuid4().hex}"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._marker.touch()
        return self

    def __exit__(self, *_: object) -> None:
        self._marker.unlink(missing_ok=True)

    def check(self) -> None:
        """Refuse to work on a node that does not see it.

        Raises
        ------
        UserError
            Naming the node.
        """
        if not self._marker.exists() and not object_store.uri_of(self.folder):  # a store is seen from everywhere
            raise UserError(
                f"node {platform.node()} does not see the folder {self.folder}",
                remedy="give --cache and --results on a disk that is mounted under the same path on all nodes, or s3://...",
            )
