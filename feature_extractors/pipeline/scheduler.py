"""Scheduler of a stage: reading, preparing, the model and writing overlap.

- Files are decoded by processes of their own, two batches ahead (`media/pool.py`).
- A thread collects the next batch and prepares it (resizes, cuts into patches, counts tokens) where the model can do
  that by itself: it has `prepare`, which makes of a list of items what `run` takes. Such a model does nothing else when
  it is called: `model(items) == model.run(model.prepare(items))`. `prepare` must not use the accelerator, and is called
  from two threads, never at the same time.
- The model runs in the thread that iterates, where Ctrl-C arrives.
- A thread writes what is done.

Batches are computed and written in their order, each from the same items as if nothing overlapped: what is stored does
not depend on who was faster, and at any moment whole batches are in the store, without a gap but for items that failed.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from feature_extractors.base import StageReport
from feature_extractors.media.result import Failure
from feature_extractors.models.threads import torch_threads
from feature_extractors.pipeline.batching import FIRST_CALL, OUT_OF_MEMORY, Fitting, out_of_memory
from feature_extractors.pipeline.stage import Inputs, Model, Reader, Stage
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import BenchError
from protocols.features import join_notes
from protocols.layer_scaling import to_float16


class _Systematic:
    """Tells an error of the program from failures of single items: it hits every item alike, from the first one on."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._reason = ""
        self._contents: set[str] = set()
        self._possible = True

    def suspected(self, contents: Sequence[str], found: Sequence[Any]) -> bool:
        """Take note of what came of further items; True while all so far failed, and are too few to be sure.

        Parameters
        ----------
        contents
            Hash of each item's content: copies of one clip that fail alike say nothing.
        found
            What came of each, or a `Failure`.

        Raises
        ------
        BenchError
            If all items so far, two at least, failed for one and the same unexpected reason.
        """
        for content, one in zip(contents, found, strict=True):
            if not (isinstance(one, Failure) and one.unexpected and one.reason == (self._reason or one.reason)):
                self._possible = False
            if not self._possible:
                return False
            self._reason = one.reason
            self._contents.add(content)
        if len(self._contents) > 1:
            raise BenchError(
                f"{self._title}: every item fails alike, which is no fault of the items: {self._reason}",
                remedy="bench doctor looks at the installation; nothing of these items was stored",
            )
        return bool(self._contents)


@dataclass(eq=False)
class _Collected:
    """A batch that is read: what there is of each item, and what the model's calls will take."""

    ready: dict[int, Any]
    usable: list[int]
    prepared: Mapping[tuple[int, int], Any]


class Flow:
    """Iterates over finished batches of rows; the model is loaded when the first input is there.

    Parameters
    ----------
    stage, inputs
        What is done to what.
    todo
        Positions in `inputs`, batch by batch.
    reader
        Of the stage, open.
    say
        Shows one line.
    threads
        Torch threads, for the preparation; the model sets its own.
    report
        Where times are noted.
    grow
        As of `ExtractContext`.
    """

    def __init__(
        self,
        stage: Stage,
        inputs: Inputs,
        todo: Sequence[Sequence[int]],
        reader: Reader,
        say: Callable[[str], None],
        threads: int,
        report: StageReport,
        grow: bool = False,
    ) -> None:
        self._stage, self._inputs, self._todo, self._threads, self._report = stage, inputs, todo, threads, report
        self._fitting = Fitting(stage.title, say, FIRST_CALL if grow else None)
        self._model: Model | None = None
        self._systematic = _Systematic(stage.title)
        tried = [at for batch in todo for at in batch if inputs.failures[at] is None]
        self._read = reader.map([inputs.payloads[at] for at in tried], 2 * stage.batch)

    def __iter__(self) -> Iterator[list[Row]]:
        ahead = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        held: list[Row] = []
        with ExitStack() as until_the_end:
            # Not waited for: the reader, which it may be waiting for, is closed after us.
            until_the_end.callback(ahead.shutdown, wait=False, cancel_futures=True)
            collecting: Future[_Collected] = ahead.submit(self._collect, self._todo[0])
            for number, batch in enumerate(self._todo):
                clock = time.perf_counter()
                collected = collecting.result()
                if number + 1 < len(self._todo):
                    collecting = ahead.submit(self._collect, self._todo[number + 1])
                if collected.usable and self._model is None:
                    clock += self._load(until_the_end)
                values = dict(zip(collected.usable, self._values(collected), strict=True))
                seconds = (time.perf_counter() - clock) / len(batch)
                found = {at: values.get(at, collected.ready[at]) for at in batch}
                held += [self._row(at, found[at], collected.ready[at], seconds) for at in batch]
                tried = {at: one for at, one in found.items() if self._inputs.failures[at] is None}
                if not self._systematic.suspected([self._inputs.content[at] for at in tried], list(tried.values())):
                    yield self._noted(held)
                    held = []
            if held:
                yield self._noted(held)

    def _noted(self, rows: list[Row]) -> list[Row]:
        self._report.rows += len(rows)
        self._report.stored += sum(_nbytes(row.value) for row in rows)
        return rows

    def _load(self, until_the_end: ExitStack) -> float:
        clock = time.perf_counter()
        self._model = self._stage.model()
        if "torch" in sys.modules and hasattr(self._model, "prepare"):
            until_the_end.enter_context(torch_threads(self._threads))  # one number for both threads, all the time
        until_the_end.callback(getattr(self._model, "close", _nothing))
        self._report.loading = time.perf_counter() - clock
        return self._report.loading

    def _collect(self, batch: Sequence[int]) -> _Collected:
        """Wait for the inputs of a batch and prepare them; runs in the other thread."""
        ready = {at: self._inputs.failures[at] or next(self._read) for at in batch}
        usable = [at for at in batch if not isinstance(ready[at], Failure)]
        prepared = {}
        prepare = getattr(self._model, "prepare", None)
        if prepare is not None and usable:
            items = [ready[at] for at in usable]
            try:
                prepared = {part: prepare(items[slice(*part)]) for part in self._fitting.parts(len(items))}
            except Exception:  # the model's call will say whose fault it is
                prepared = {}
        return _Collected(ready, usable, prepared)

    def _values(self, collected: _Collected) -> Sequence[Any]:
        if not collected.usable:
            return []
        assert self._model is not None
        ready = [collected.ready[at] for at in collected.usable]
        clock = time.perf_counter()
        try:
            values = self._fitting.values(self._model, ready, collected.prepared)
        except BenchError:
            raise
        except Exception as error:
            values = self._one_by_one(ready, error)
        if len(ready) > 1 and all(value is OUT_OF_MEMORY for value in values):
            raise BenchError(
                f"{self._stage.title}: out of memory, even with one item at a time",
                remedy="--dtype bfloat16, --quantize 4bit, fewer frames or a smaller checkpoint; --plan tells the need",
            )
        self._report.calls.append((len(ready), time.perf_counter() - clock))
        return values

    def _one_by_one(self, ready: list[Any], cause: Exception) -> list[Any]:
        """Find the item that a model call stumbled over; an error on every one of them is no item's fault."""
        assert self._model is not None
        values: list[Any] = []
        for item in ready:
            try:
                values.append(self._model([item])[0])
            except BenchError:
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                values.append(OUT_OF_MEMORY if out_of_memory(error) else Failure("error", reason, unexpected=True))
        if len(ready) > 1 and all(isinstance(value, Failure) for value in values):
            raise BenchError(f"{self._stage.title}: the model fails on every item of a batch: {cause}") from cause
        return values

    def _row(self, at: int, value: Any, ready: Any, seconds: float) -> Row:
        item_id, content = self._inputs.item_ids[at], self._inputs.content[at]
        if isinstance(value, str) and not value.strip():
            value = Failure("empty", "the model gave no text")
        elif isinstance(value, np.ndarray) and not np.isfinite(value).all():
            value = Failure("error", "the model gave a number that is not finite")
        if isinstance(value, Failure):
            return Row(item_id, content, value.status, value.reason, seconds, None, passing=value.passing)
        scales = None
        if self._stage.space.kind == "layers":
            value, scales = to_float16(value)
        own = getattr(value, "note", ""), getattr(self._model, "note", _no_note)(ready)
        notes = *self._inputs.notes(at), getattr(ready, "note", ""), *own
        value = str(value) if isinstance(value, str) else value  # a text with a remark, too, is stored as a text
        return Row(item_id, content, "ok", join_notes(*notes), seconds, value, scales)


class Writer:
    """Writes rows to a store in a thread of its own, in order.

    An error of the store is raised where rows are handed over next, or at the end; nothing is written after it.

    Examples
    --------
    >>> with Writer(store) as writer:  # doctest: +SKIP
    ...     writer.add(rows)
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=4)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="write")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Commit what is left, also after an error: what was computed is not lost."""
        self._queue.put(self._store.commit)
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def add(self, rows: Sequence[Row]) -> None:
        """Hand over the rows of one whole batch.

        Raises
        ------
        UserError
            If the store could not be written.
        """
        if self._error is not None:
            raise self._error
        self._queue.put(lambda: self._store.add(rows))

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._error is None:
                try:
                    job()
                except BaseException as error:
                    self._error = error


def _no_note(ready: Any) -> str:
    return ""


def _nothing() -> None:
    pass


def _nbytes(value: Any) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else len((value or "").encode("utf-8", "surrogatepass"))
