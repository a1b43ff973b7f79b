"""Stages of a chain, one for each feature space, and their inputs: media files, texts, or another space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media.hashed_file import HashedFile, hash_file
from feature_extractors.media.remote_file import RemoteFile, look_up
from feature_extractors.media.result import Failure
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.pipeline import sharding
from feature_extractors.store.lance import Row
from protocols.errors import DataError
from protocols.features import Features, FeatureSpace, Kind

Model = Callable[[list[Any]], Sequence[Any] | np.ndarray]

NOT_ASKED = Failure("missing", "not extracted: outside of what was asked for")


class Reader(Protocol):
    """Turns payloads (paths, texts) into what the model takes, ahead of it."""

    def map(self, payloads: Sequence[Any], ahead: int) -> Iterator[Any]:
        """Yield one model input or `Failure` per payload, in order."""
        ...


OpenReader = Callable[[int], AbstractContextManager[Reader]]


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of a chain.

    Attributes
    ----------
    space
        The feature space it fills; its `config` names the `parents` and everything else that decides the values.
    title
        Shown beside the progress bar.
    batch
        Items per model call, at most `sharding.BLOCK`.
    model
        Loads the model, only when something is to do. A model takes a list of inputs and returns as many values: texts,
        vectors, or for kind `layers` states [L, R, D] of any float type, which are packed here. One that also has
        `prepare` and `run` gets its inputs ready while it works on the batch before, see `scheduler.py`.
        Its `close`, if it has one, is called at the end of the stage.
        What an input's attribute `note` and the model's method `note(input)` say stands in the item's row.
    reader
        Opens the reader for a number of worker processes; None: payloads are the inputs.
    """

    space: FeatureSpace
    title: str
    batch: int
    model: Callable[[], Model]
    reader: OpenReader | None = None

    @classmethod
    def for_model(
        cls,
        name: str,
        version: int,
        title: str,
        checkpoint: Checkpoint,
        model: Callable[[], Model],
        config: Mapping[str, Any],
        inputs: Inputs,
        batch: int,
        facts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make the stage of a model with a checkpoint.

        Parameters
        ----------
        name, version
            Of the feature space, `EXTRACTOR.PART`. A part `vector` or `layers` is of that kind, any other is text.
        title
            Shown beside the progress bar, with the checkpoint's name.
        checkpoint
            Enters the key, and closes the provenance.
        model, batch
            Of the stage.
        config
            What else decides the values: the key, with the parents and entries of the inputs.
        inputs
            As the stage will be run on.
        facts
            Further provenance.
        """
        part = name.rpartition(".")[2]
        kind: Kind = "vector" if part == "vector" else "layers" if part == "layers" else "text"
        parents = [parent.space for parent in inputs.parents]
        entries = {
            "parents": [parent.id for parent in parents],
            "checkpoint": checkpoint.fingerprint,
            **inputs.config,
            **config,
        }
        provenance = {**chained(parents, checkpoint.provenance), **(facts or {})}
        space = FeatureSpace(name, version, kind, entries, provenance)
        return cls(space, f"{title} ({checkpoint.name})", batch, model, inputs.reader)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Items of a stage.

    Attributes
    ----------
    item_ids
        [N] raw ids, in any order, without repetition.
    payloads
        [N] paths, remote files or texts.
    content
        [N] hash of each payload's content; "" where there is none.
    failures
        [N]: why an item cannot even be tried, or None.
    parents
        Features that the payloads were made of. Their ids are part of the key of what is made of them, and their
        seconds are added to its seconds.
    reader
        Opens the reader of the payloads for a number of worker processes; None: they are the model's inputs.
    config
        What the reader decides, such as the frame policy, for the key.
    files
        Media files as they were hashed, by path: readers return nothing that was read of other bytes.
    """

    item_ids: Sequence[str]
    payloads: Sequence[Any]
    content: Sequence[str]
    failures: Sequence[Failure | None]
    parents: Sequence[Features] = ()
    reader: OpenReader | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[Path, HashedFile] = field(default_factory=dict)

    def notes(self, at: int) -> list[str]:
        """Return the remarks of earlier stages on what an item is made of."""
        return [str(parent.reason[at]) for parent in self.parents if parent.status[at] == "ok" and parent.reason[at]]


def video_inputs(source: ItemSource, context: ExtractContext) -> Inputs:
    """Media files with the hash of their bytes; those far from any item that is asked for are not read.

    Raises
    ------
    DataError
        If several files in a row have vanished that an earlier stage of the same run has read.
    """
    count = len(source.item_ids)
    content = [""] * count
    failures: list[Failure | None] = [NOT_ASKED] * count
    wanted = sharding.beside(source.item_ids, context.only)
    vanished = Vanished("reading media files")
    payloads: list[Any] = list(source.videos)
    with context.progress.task("reading media files", len(wanted)) as task, _Ahead(source, wanted) as remote:
        for at in sorted(wanted):
            found = remote.get(at) or _hashed_once(source.videos[at], source.root, context.files)
            content[at], failures[at] = ("", found) if isinstance(found, Failure) else (found.content, None)
            payloads[at] = found if isinstance(found, RemoteFile) else payloads[at]
            vanished.note(source.item_ids[at], failures[at])
            task.advance()
    return Inputs(source.item_ids, payloads, content, failures, files=context.files)


class _Ahead:
    """Remote files, looked up many at a time: a server takes its time for each."""

    def __init__(self, source: ItemSource, wanted: Collection[int]) -> None:
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="look-up")
        addresses = ((at, source.videos[at]) for at in sorted(wanted))
        self._found = {at: self._threads.submit(look_up, one) for at, one in addresses if isinstance(one, str)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def get(self, at: int) -> RemoteFile | Failure | None:
        """Return the file of an item, or its failure; None for a file of this machine."""
        return self._found[at].result() if at in self._found else None


def _hashed_once(path: Any, root: Path | None, files: dict[Path, HashedFile]) -> HashedFile | Failure:
    """Hash a file, unless an earlier stage did and it has not changed; one that was there and is not has vanished."""
    before = files.get(path) if path is not None else None
    if before is not None and before.unchanged:
        return before
    found = hash_file(path, root)
    if isinstance(found, HashedFile):
        files[found.path] = found
    elif before is not None and found.status == "missing":
        return replace(found, reason=f"vanished since it was hashed: {found.reason}", passing=True)
    return found


class Vanished:
    """Counter of files in a row that vanished while a stage runs: a folder that is gone is no property of its clips."""

    MOST = 5

    def __init__(self, title: str) -> None:
        self._title, self._count = title, 0

    def note(self, item_id: str, outcome: Failure | Row | None) -> None:
        """Note what came of the next item.

        Raises
        ------
        DataError
            If more than `MOST` in a row have vanished.
        """
        if outcome is None or not (outcome.passing and outcome.status == "missing"):
            self._count = 0
            return
        self._count += 1
        if self._count > self.MOST:
            gone = f"the files of {self._count} items in a row have vanished while it ran"
            raise DataError(
                f"{self._title}: {gone}, the last is that of {item_id} ({outcome.reason})",
                remedy="see that their folder is there (a network mount?), then run the same command again to go on",
            )


def text_inputs(item_ids: Sequence[str], texts: Sequence[str | None], what: str) -> Inputs:
    """Texts that were there from the start, such as titles.

    Parameters
    ----------
    item_ids, texts
        [N] raw ids and texts.
    what
        What the text is, for reasons: `title`.
    """
    failures = [
        Failure("missing", f"no {what}")
        if text is None
        else None
        if text.strip()
        else Failure("empty", f"empty {what}")
        for text in texts
    ]
    content = ["" if text is None else text_hash(text) for text in texts]
    return Inputs(item_ids, texts, content, failures)


def stage_inputs(features: Features) -> Inputs:
    """Texts that another stage made; its failures are passed on."""
    failures = [
        None if status == "ok" else Failure(str(status), str(reason))
        for status, reason in zip(features.status, features.reason, strict=True)
    ]
    content = [text_hash(text) if ok else "" for text, ok in zip(features.values, features.ok, strict=True)]
    return Inputs(features.item_ids, list(features.values), content, failures, [features])


def chained(parents: Sequence[FeatureSpace], own: dict[str, Any]) -> dict[str, Any]:
    """Provenance of a stage: that of what it was made from, then that of its own checkpoint."""
    chain = [*(parent.provenance for parent in parents), own]
    return {key: [entry for part in chain for entry in part.get(key, [None])] for key in own}


def text_hash(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
