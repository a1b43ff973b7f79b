"""Feature store: one Lance dataset per feature space, filled by appending, never rewritten in place.

A row is one item's feature: `item_id, content, status, reason, seconds, shape, value, check`, and `scales` for kind
`layers`. `content` is the hash of what the feature was made from, so that a changed clip finds no row; `check` is a
checksum of the whole row, because Lance sometimes returns damaged bytes without an error. Rows repeat when a batch was
computed twice; the last one counts. Appends are atomic, so a killed run leaves whole commits. After a power cut commits
may be missing (Lance never calls fsync).
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from protocols import json_text, object_store
from protocols.errors import BenchError, UserError
from protocols.features import FeatureSpace

COMMIT_ROWS = 500
COMMIT_SECONDS = 30.0
COMPACT_EACH = 200  # commits
COMPACT_FROM = 8  # fragments
# Rows read at once: Arrow counts the numbers of a column in 31 bits, and a row of `layers` may have a million.
LAYERS_TAKE = 512
# Cleaning up versions younger than this breaks readers that have them open.
KEEP_VERSIONS = timedelta(hours=1)
# Columns that are small, whatever the feature is.
INDEX = ("item_id", "content", "status", "reason", "seconds")


@dataclass(frozen=True, eq=False)
class Row:
    """Row of the store: one item's feature, or the reason why it has none.

    Attributes
    ----------
    item_id
        Raw id.
    content
        Hash of the input; "" where there was none.
    status, reason
        As in `protocols.features.Features`.
    seconds
        Seconds of extraction.
    value
        Text, or an array of the space's shape; None unless status is `ok`.
    scales
        float32 [L] of a feature of kind `layers`, see `protocols.layer_scaling.pack`.
    passing
        A failure of the moment, never to be stored.
    """

    item_id: str
    content: str
    status: str
    reason: str
    seconds: float
    value: str | np.ndarray | None
    scales: np.ndarray | None = None
    passing: bool = False


class DamagedStoreError(Exception):
    """A feature space on disk that cannot be read; `repair` sets it aside."""


class FeatureStore:
    """One feature space on disk.

    Parameters
    ----------
    root
        Folder that holds all feature spaces, also one that stands for an object store; or an address.
    space
        The space to read or fill.

    Attributes
    ----------
    on_commit
        Called with the number of rows of each commit.
    uri
        Path or address of the Lance dataset.
    folder
        Its path; None for an address. Beside that of a dataset in an object store lie locks and copies.

    Raises
    ------
    UserError
        If the folder cannot be made.
    """

    def __init__(
        self,
        root: Path | str,
        space: FeatureSpace,
    ) -> None:
        self.space = space
        address = str(root).rstrip("/") if object_store.is_uri(str(root)) else object_store.uri_of(root)
        self.local = not address
        base = address or str(Path(root).absolute())
        self.uri = f"{base}/{space.id}.lance"
        self.folder = None if object_store.is_uri(str(root)) else Path(root, f"{space.id}.lance").absolute()
        self._options = object_store.lance_options(self.uri)
        self._pending: list[Row] = []
        self._since = 0.0
        self._commits = 0
        self.on_commit: Callable[[int], None] = lambda rows: None
        if self.local:
            try:
                Path(base).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unwritable(base, str(error.strerror)) from error

    def read(self, item_ids: Sequence[str], content: Sequence[str]) -> list[Row | None]:
        """Look up items made from this very content.

        Parameters
        ----------
        item_ids, content
            [N] raw ids, and the hash of what each item's feature must have been made from.

        Returns
        -------
        list
            [N]: the latest intact row, or None.

        Raises
        ------
        DamagedStoreError
            If the dataset is there but cannot be read.
        """
        dataset = self._open()
        if dataset is None:
            return [None] * len(item_ids)
        try:
            index = dataset.to_table(columns=["item_id", "content"])
            keys = zip(index["item_id"].to_pylist(), index["content"].to_pylist(), strict=True)
            last = {key: at for at, key in enumerate(keys)}
            places = [last.get(key) for key in zip(item_ids, content, strict=True)]
            wanted = sorted({place for place in places if place is not None})
            step = LAYERS_TAKE if self.space.kind == "layers" else max(1, len(wanted))
            found: dict[int, Row | None] = {}
            for start in range(0, len(wanted), step):
                part = wanted[start : start + step]
                found.update(zip(part, self.rows(dataset.take(part)), strict=True))
        except BenchError:
            raise
        except BaseException as error:
            raise self._translated(error) from error
        return [None if place is None else found[place] for place in places]

    def index(self) -> Any:
        """Return the columns beside the values, of all rows in the order they were written.

        Returns
        -------
        pyarrow.Table
            Columns `item_id, content, status, reason, seconds`; None where there is no dataset yet.

        Raises
        ------
        DamagedStoreError
            If the dataset is there but cannot be read.
        """
        dataset = self._open()
        try:
            return None if dataset is None else dataset.to_table(columns=list(INDEX))
        except BaseException as error:
            raise self._translated(error) from error

    def take(self, places: Sequence[int]) -> list[Row | None]:
        """Return some rows by their place in `index`; None for one that is damaged.

        Raises
        ------
        DamagedStoreError
            If they cannot be read.
        """
        try:
            return self.rows(self._open().take(list(places))) if places else []
        except BaseException as error:
            raise self._translated(error) from error

    def fragments(self) -> list[Any]:
        """Return Lance's fragments, oldest first; none where there is no dataset yet.

        Raises
        ------
        DamagedStoreError
            If the dataset is there but cannot be read.
        """
        dataset = self._open()
        return [] if dataset is None else list(dataset.get_fragments())

    def add(self, rows: Sequence[Row]) -> None:
        """Add the rows of one whole batch, but for passing ones; commit at 500 rows or after 30 s."""
        if not self._pending:
            self._since = time.monotonic()
        self._pending += [row for row in rows if not row.passing]
        if len(self._pending) >= COMMIT_ROWS or time.monotonic() - self._since >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Append everything added so far; conflicts with other writers are retried.

        Raises
        ------
        UserError
            If there is no space left, or the folder cannot be written.
        """
        if not self._pending:
            return
        self.append(self._table(self._pending))
        self.on_commit(len(self._pending))
        self._pending = []
        self._commits += 1
        if self._commits % COMPACT_EACH == 0:
            self.compact()

    def append(self, table: Any) -> None:
        """Append a table of rows; conflicts with other writers are retried.

        Raises
        ------
        UserError
            If there is no space left, or the folder cannot be written.
        """
        for attempt in range(10):
            try:
                self._append(table)
                return
            except BaseException as error:
                message = str(error).lower()
                if attempt == 9 or not any(sign in message for sign in _CONFLICTS):
                    raise self._translated(error) from error
                time.sleep(random.uniform(0.0, 0.05 * 2**attempt))

    def _append(self, table: Any) -> None:
        import lance
        from lance.fragment import write_fragments

        if self._open() is not None:
            lance.write_dataset(table, self.uri, mode="append", storage_options=self._options)
            return
        # Not write_dataset(mode="create"): of two writers it lets the second one replace what the first has committed.
        fragments = write_fragments(table, self.uri, mode="create", storage_options=self._options)
        operation = lance.LanceOperation.Overwrite(table.schema, fragments)
        lance.LanceDataset.commit(self.uri, operation, max_retries=0, storage_options=self._options)

    def compact(self) -> None:
        """Merge small fragments and delete versions older than an hour."""
        dataset = self._open()
        if dataset is None or len(dataset.get_fragments()) < COMPACT_FROM:
            return
        try:
            dataset.optimize.compact_files()
            dataset.cleanup_old_versions(older_than=KEEP_VERSIONS)
        except Exception as error:
            # Another writer came first: the rows are safe, and the next run compacts.
            if "conflict" not in str(error).lower():
                raise self._translated(error) from error

    def describe(self) -> None:
        """Write the description `SPACE.json` beside the dataset, for readers; no key depends on it."""
        content = {"schema": 1, "id": self.space.id, **asdict(self.space), "made_with": _versions()}
        text = json_text.dumps(content, indent=2, sort_keys=True)
        if self.folder is not None:
            path = self.folder.with_suffix(".json")
            try:
                object_store.write(path, text + "\n")
            except OSError as error:
                raise _unwritable(str(path), str(error.strerror)) from error
            return
        from pyarrow import fs

        files, path = fs.FileSystem.from_uri(self.uri.removesuffix(".lance") + ".json")
        files.create_dir(path.rpartition("/")[0], recursive=True)
        with files.open_output_stream(path) as out:
            out.write(text.encode() + b"\n")

    def _open(self) -> Any:
        import lance

        try:
            return lance.dataset(self.uri, storage_options=self._options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A run killed in its first commit leaves a folder without a manifest, which is no dataset yet.
            if "was not found" in str(error) or "Not found" in str(error):
                return None
            raise self._translated(error) from error

    def _table(self, rows: Sequence[Row]) -> Any:
        import pyarrow as pa

        kinds = {"text": pa.string(), "vector": pa.list_(pa.float32()), "layers": pa.list_(pa.float16())}
        columns = {
            "item_id": pa.array([r.item_id for r in rows], pa.string()),
            "content": pa.array([r.content for r in rows], pa.string()),
            "status": pa.array([r.status for r in rows], pa.string()),
            "reason": pa.array([r.reason for r in rows], pa.string()),
            "seconds": pa.array([r.seconds for r in rows], pa.float32()),
            "shape": pa.array(
                [() if r.value is None or isinstance(r.value, str) else r.value.shape for r in rows],
                pa.list_(pa.int32()),
            ),
            "value": pa.array([self._flat(r.value) for r in rows], kinds[self.space.kind]),
            "check": pa.array([_check(r, self._flat(r.value)) for r in rows], pa.uint32()),
        }
        if self.space.kind == "layers":
            columns["scales"] = pa.array([r.scales for r in rows], pa.list_(pa.float32()))
        return pa.table(columns)

    def _flat(self, value: str | np.ndarray | None) -> str | np.ndarray | None:
        if value is None or isinstance(value, str):
            return value
        return np.ascontiguousarray(value, np.float16 if self.space.kind == "layers" else np.float32).ravel()

    def rows(self, table: Any) -> list[Row | None]:
        """Return the rows of a table; None where the checksum is wrong."""
        names = ("item_id", "content", "status", "reason", "seconds", "shape", "check")
        columns = [table[name].to_pylist() for name in names]
        rows: list[Row | None] = []
        for at, (item_id, content, status, reason, seconds, shape, check) in enumerate(zip(*columns, strict=True)):
            scalar = table["value"][at]
            value: str | np.ndarray | None = None
            if scalar.is_valid:
                value = scalar.as_py() if self.space.kind == "text" else scalar.values.to_numpy(zero_copy_only=False)
            scales = table["scales"][at] if self.space.kind == "layers" else None
            scales = scales.values.to_numpy(zero_copy_only=False) if scales is not None and scales.is_valid else None
            row = Row(item_id, content, status, reason, seconds, value, scales)
            intact = check == _check(row, value)
            if intact and isinstance(value, np.ndarray):
                row = replace(row, value=value.reshape(shape))
            rows.append(row if intact else None)
        return rows

    def _translated(self, error: BaseException) -> BaseException:
        """Turn an error of Lance (its classes are few) into one with a cause and a remedy."""
        if isinstance(error, (KeyboardInterrupt, SystemExit, BenchError, DamagedStoreError)):
            return error
        message = str(error)
        if not self.local and object_store.is_fault(message):
            return object_store.fault(self.uri, message)
        for sign, reason in _DISK_SIGNS.items():
            if sign.lower() in message.lower():
                return _unwritable(self.uri, reason)
        if isinstance(error, MemoryError):
            return error
        return DamagedStoreError(f"{self.uri}: {' '.join(message.split())[:300]}")


# Messages of Lance to the second of two writers; the last one when both create the dataset.
_CONFLICTS = ("conflict", "already exists", "_versions/0.manifest")

_DISK_SIGNS = {
    "no space left": "no space left on the device",
    "os error 28": "no space left on the device",
    "quota exceeded": "the disk quota is used up",
    "file too large": "the file would be larger than the system allows",
    "permission denied": "permission denied",
    "read-only file system": "the file system is read-only",
    "too many open files": "too many open files",
}


def _versions() -> dict[str, str]:
    """Return the versions of the packages that features are made with, of those installed."""
    found = {}
    for name in ("video-rec-bench", "numpy", "torch", "transformers", "sentence-transformers", "av", "decord"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _check(row: Row, value: str | np.ndarray | None) -> int:
    head = "\0".join((row.item_id, row.content, row.status, row.reason)).encode("utf-8", "surrogatepass")
    body = b"" if value is None else value.encode() if isinstance(value, str) else value.tobytes()
    scales = b"" if row.scales is None else row.scales.tobytes()
    return zlib.crc32(scales, zlib.crc32(body, zlib.crc32(head)))


def _unwritable(place: str, reason: str) -> UserError:
    return UserError(
        f"the feature store {place} cannot be written: {reason}",
        remedy="free some space or choose another folder (--cache FOLDER), then run again: what was committed is kept",
    )
