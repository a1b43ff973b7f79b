"""Run of a stage: compute the features that the store lacks, batch by batch, and return those of all items.

What a stage computes never depends on what is there already: batches are cut from the sorted list of all items, and a
batch of which one item is new is computed whole. So a killed and resumed extraction equals an uninterrupted one
(`sharding.py` says how that holds for a run over a part of the items).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from feature_extractors.base import ExtractContext, StageReport
from feature_extractors.media.result import Failure
from feature_extractors.pipeline import sharding
from feature_extractors.pipeline.interrupt import GRACE, Interrupt
from feature_extractors.pipeline.metering import metered
from feature_extractors.pipeline.scheduler import Flow, Writer
from feature_extractors.pipeline.stage import NOT_ASKED, Inputs, Model, Stage, Vanished, stage_inputs
from feature_extractors.store import ledger, repair
from feature_extractors.store.lance import DamagedStoreError, FeatureStore, Row
from protocols.errors import DataError
from protocols.features import Features, FeatureSpace, join_notes
from protocols.layer_scaling import to_common_scale
from protocols.progress import Task
from protocols.resource_usage import Usage

NEVER = Failure("missing", "not in the store, and nothing is to be extracted")


def run_stage(stage: Stage, inputs: Inputs, context: ExtractContext) -> Features:
    """Return the features of all items, computing those that the store does not have (or as `context` says).

    The seconds of an item are those of the whole chain: of this stage and of the parents of its inputs.

    Raises
    ------
    UserError
        If the store cannot be written or is full; everything committed before stays.
    DataError
        If an item id occurs twice, or several files in a row vanish while the stage reads them.
    KeyboardInterrupt
        After Ctrl-C, when the batch in hand is done and committed, or was not within `interrupt.GRACE` seconds.
    """
    if len(set(inputs.item_ids)) != len(inputs.item_ids):
        raise DataError(f"{stage.space.extractor}: an item id occurs twice")
    store = FeatureStore(context.store, stage.space)
    rows = _lookup(store, inputs, context, locked=False)
    passing: dict[str, Row] = {}
    if context.report is not None and context.overwrite == "never":
        left = sum(_left(inputs, rows, context))
        context.report(StageReport(stage.title, left, name=stage.space.extractor, space=stage.space))
    if _batches_to_do(stage, inputs, rows, context):
        with _lock(store, context, context.part):
            rows = _lookup(store, inputs, context, locked=not context.part)
            todo = _batches_to_do(stage, inputs, rows, context)
            if todo:
                with metered(store, context.device):
                    passing = compute(stage, inputs, todo, store, context)
                rows = _lookup(store, inputs, context, locked=not context.part)
    found = [row or passing.get(item_id) for row, item_id in zip(rows, inputs.item_ids, strict=True)]
    return replace(_features(stage.space, inputs, found, context), usage=_usage(store, inputs))


def _usage(store: FeatureStore, inputs: Inputs) -> dict[str, Usage | None]:
    """Return what the stages of the chain have taken."""
    earlier = {name: used for parent in inputs.parents for name, used in parent.usage.items()}
    return {**earlier, store.space.id: ledger.read(store)}


def run_text_stage(
    name: str,
    version: int,
    title: str,
    texts: Features,
    config: Mapping[str, Any],
    model: Model,
    context: ExtractContext,
) -> Features:
    """Make other texts of the texts of a stage, by a function without a checkpoint.

    Parameters
    ----------
    name, version
        Of the feature space.
    title
        Shown beside the progress bar.
    texts
        Of kind `text`.
    config
        What decides the outcome, beside the texts.
    model
        Takes a batch of texts and returns as many texts or failures.
    """
    entries = {"parents": [texts.space.id], **config}
    space = FeatureSpace(name, version, "text", entries, texts.space.provenance)
    return run_stage(Stage(space, title, sharding.BLOCK, lambda: model), stage_inputs(texts), context)


def _lookup(store: FeatureStore, inputs: Inputs, context: ExtractContext, locked: bool) -> list[Row | None]:
    try:
        return _believable(store, inputs)
    except DamagedStoreError:
        with nullcontext() if locked else _lock(store, context):
            try:  # another run may have mended it, or was just compacting
                return _believable(store, inputs)
            except DamagedStoreError as cause:
                repair.set_aside(store, cause, context.progress.say)
                return _believable(store, inputs)


def _believable(store: FeatureStore, inputs: Inputs) -> list[Row | None]:
    """Read the rows of the store; one that says `missing` counts only while the item is missing for good."""
    rows = store.read(inputs.item_ids, inputs.content)
    missing = [failure is not None and not failure.passing for failure in inputs.failures]
    return [
        None if row is not None and row.status == "missing" and not gone else row
        for row, gone in zip(rows, missing, strict=True)
    ]


@contextmanager
def _lock(store: FeatureStore, context: ExtractContext, part: str = "") -> Iterator[None]:
    """One run fills (a part of) a space at a time; the operating system frees the lock when its holder dies."""
    if store.folder is None:
        yield
        return
    # of several machines that write to one object store each does the whole work, and no harm
    lock = FileLock(str(store.folder.with_suffix(f".{part}.lock" if part else ".lock")))
    said = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=1.0)
        except Timeout:
            if not said:
                context.progress.say(f"another run is filling {store.space.id}: waiting for it")
            said = True
    try:
        yield
    finally:
        lock.release()


def _left(inputs: Inputs, rows: Sequence[Row | None], context: ExtractContext) -> list[bool]:
    """Return for each item whether it is asked for and not done."""

    def done(at: int) -> bool:
        row, failure = rows[at], inputs.failures[at]
        if context.overwrite == "always" or row is None or (failure is not None and row.status != failure.status):
            return False
        return not (context.retry and row.status == "error")

    return [_asked(item_id, context) and not done(at) for at, item_id in enumerate(inputs.item_ids)]


def _asked(item_id: str, context: ExtractContext) -> bool:
    return context.only is None or item_id in context.only


def _batches_to_do(
    stage: Stage, inputs: Inputs, rows: Sequence[Row | None], context: ExtractContext
) -> list[list[int]]:
    """Positions in `inputs`, batch by batch: every batch with an item that is asked for and not done.

    Of a batch that reaches beyond what is asked for, the items that are stored already are computed again with it.
    """
    if context.overwrite == "never":
        return []
    left = _left(inputs, rows, context)
    return [
        [at for at in batch if rows[at] is not None or _asked(inputs.item_ids[at], context)]
        for batch in sharding.batches(inputs.item_ids, stage.batch)
        if any(left[at] for at in batch)
    ]


def _kept(models: dict[str, Any], stage: Stage) -> Model:
    """Load the model of a stage, unless it is there from an earlier extraction; one that is closed is not kept."""
    if stage.space.id in models:
        return models[stage.space.id]
    model = stage.model()
    if not hasattr(model, "close"):
        models[stage.space.id] = model
    return model


def compute(
    stage: Stage, inputs: Inputs, todo: list[list[int]], store: FeatureStore, context: ExtractContext
) -> dict[str, Row]:
    """Compute batches of a stage, positions in `inputs`, and store them.

    Returns
    -------
    dict
        Rows that are not stored, by item: failures of the moment, which the next run tries again.
    """
    store.describe()
    reading = stage.reader(context.workers) if stage.reader else nullcontext(_Same())
    total = sum(map(len, todo))
    report = StageReport(stage.title, total, name=stage.space.extractor, space=stage.space)
    if context.models is not None:
        stage = replace(stage, model=partial(_kept, context.models, stage))
    failed, done, vanished = 0, 0, Vanished(stage.title)
    passing: dict[str, Row] = {}

    def finishing() -> None:
        hand = f"{stage.title}: Ctrl-C, {done} of {total} items are done"
        context.progress.say(f"{hand}; the batch in hand has {GRACE:.0f} s to finish, once more stops at once")

    try:
        with context.progress.task(stage.title, total) as task, reading as reader, Interrupt(finishing) as interrupt:
            flow = Flow(stage, inputs, todo, reader, context.progress.say, context.threads, report, context.grow)
            with Writer(store) as writer:
                for rows in flow:
                    writer.add(rows)
                    done += len(rows)
                    failed += sum(row.status != "ok" for row in rows)
                    _advance(task, len(rows), failed)
                    for row in rows:
                        vanished.note(row.item_id, row)
                        passing |= {row.item_id: row} if row.passing else {}
                    if interrupt.asked:
                        raise KeyboardInterrupt
            report.reading = getattr(reader, "busy", 0.0)
    except KeyboardInterrupt:
        kept = "all items are stored" if done == total else f"{done} of {total} items are stored"
        raise KeyboardInterrupt(f"{stage.title}: {kept}; run the same command again to go on") from None
    if passing:
        unstored = f"nothing is stored of {len(passing)} items whose files vanished or changed"
        context.progress.say(f"{stage.title}: {unstored}; run again for them")
    if context.report is not None:
        context.report(report)
    store.compact()
    return passing


def _advance(task: Task, steps: int, failed: int) -> None:
    task.advance(steps, note=f"{failed} without a feature" if failed else "")


def _absent(at: int, inputs: Inputs, context: ExtractContext) -> Row:
    """Row of an item that the store does not have, with the reason."""
    why = Failure("error", "the store did not keep it")
    if context.overwrite == "never":
        why = NEVER
    elif not _asked(inputs.item_ids[at], context):
        why = NOT_ASKED
    why = inputs.failures[at] or why
    return Row(inputs.item_ids[at], "", why.status, why.reason, 0.0, None)


class _Same:
    """Payloads that need no reading."""

    def map(self, payloads: Sequence[Any], ahead: int) -> Iterator[Any]:
        """Yield the payloads."""
        return iter(payloads)


def _features(space: FeatureSpace, inputs: Inputs, rows: Sequence[Row | None], context: ExtractContext) -> Features:
    """Rows in the order of `inputs`, as arrays."""
    count = len(inputs.item_ids)
    found = [row or _absent(at, inputs, context) for at, row in enumerate(rows)]
    sample = next((row.value for row in found if isinstance(row.value, np.ndarray)), None)
    if space.kind == "text":
        values = np.array([row.value or "" for row in found] + [None], dtype=object)[:count]
    else:
        shape = () if sample is None else sample.shape
        dtype = np.float16 if space.kind == "layers" else np.float32
        values = np.zeros((count, *(shape or (0,))), dtype=dtype)
        for at, row in enumerate(found):
            if row.status == "ok":
                values[at] = row.value
    scales = None
    if sample is not None and space.kind == "layers":
        ones = np.ones(len(sample), dtype=np.float32)
        scales = to_common_scale(values, np.stack([ones if row.scales is None else row.scales for row in found]))
    seconds = np.array([row.seconds for row in found], dtype=np.float32)
    return Features(
        space=space,
        item_ids=list(inputs.item_ids),
        values=values,
        status=np.array([row.status for row in found], dtype=object),
        reason=np.array(
            [
                join_notes(*inputs.notes(at), row.reason) if row.status == "ok" else row.reason
                for at, row in enumerate(found)
            ],
            dtype=object,
        ),
        seconds=sum((parent.seconds for parent in inputs.parents), seconds),
        scales=scales,
    )
