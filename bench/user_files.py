"""Per-user files of records: a parquet beside each, or that of a published board; hashes of their columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench import board_files
from protocols.errors import DataError
from protocols.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Of the names of columns that are there, those to read.
Choice = Callable[[Sequence[str]], Sequence[str]]


def frame_of(path: Path) -> Path:
    """Return the file with the per-user frame of the record at `path`: its own, or that of a published board."""
    board = board_files.file_of(path)
    return path.with_suffix(".parquet") if board is None else board.with_name(board_files.USERS)


def again(path: Path) -> str:
    """Say how a record comes to be again."""
    return "run the cell again" if board_files.file_of(path) is None else "publish the board again"


class UserIds(NamedTuple):
    """Column `user_id`: all records of a fold have the same, as a rule, and share one in memory.

    Attributes
    ----------
    digest
        See `column_digest`.
    order
        int64 [users]: rows sorted by user.
    ids
        [users]: in that order.
    """

    digest: str
    order: np.ndarray
    ids: np.ndarray


def arrays(path: Path, choose: Choice) -> tuple[UserIds, dict[str, np.ndarray]]:
    """Read the column `user_id`, and those that `choose` picks, of the record at `path`, in the order of its rows.

    Raises
    ------
    DataError
        If the file is missing or broken, or has a row without a user.
    """
    with _named(path):
        table = _table(path, lambda held: ["user_id", *choose(held)])
        users = table.column("user_id").combine_chunks()
        kind, without = str(users.type), users.null_count
        if kind not in ("string", "large_string") or without:
            raise ValueError(f"column 'user_id' holds {kind}, {counted(without, 'row')} without a user")
        content = (None if one is None else one.to_pybytes() for one in users.buffers())
        names = [name for name in table.column_names if name != "user_id"]
        values = {name: table.column(name).to_numpy() for name in names}
        return _user_ids(kind, len(users), users.offset, *content), values


@lru_cache(maxsize=16)
def _user_ids(kind: str, length: int, offset: int, *content: bytes | None) -> UserIds:
    import pyarrow as pa

    buffers = [None if one is None else pa.py_buffer(one) for one in content]
    ids = pa.Array.from_buffers(pa.type_for_alias(kind), length, buffers, offset=offset).to_numpy(zero_copy_only=False)
    order = np.argsort(ids, kind="stable")
    found = UserIds(column_digest(ids), order, ids[order])
    for array in (found.order, found.ids):
        array.flags.writeable = False
    return found


def users(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the per-user frame that belongs to the record at `path`, or some of its columns.

    Raises
    ------
    DataError
        If the file is missing, or lacks a column.
    """
    with _named(path):
        table = _table(path, lambda held: held if columns is None else columns)
        return table.to_pandas(use_threads=False)


def columns(path: Path) -> list[str]:
    """Return the columns of the per-user frame of the record at `path`, without reading it.

    Raises
    ------
    DataError
        If the file is missing or broken.
    """
    import pyarrow.parquet as pq

    with _named(path):
        if board_files.file_of(path) is not None:
            return board_files.columns(path)
        return list(pq.read_schema(frame_of(path)).names)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors."""
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's errors of a broken file are ValueErrors
        raise DataError(
            f"{frame_of(path)}: {error}", remedy=f"delete the record beside it and {again(path)}"
        ) from error


def _table(path: Path, choose: Choice) -> pa.Table:
    """Read some columns; `pd.read_parquet` takes three times as long to begin, and a path half as long again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if board_files.file_of(path) is not None:
        return board_files.users(path, choose)
    with pa.OSFile(str(frame_of(path))) as source, pq.ParquetFile(source, pre_buffer=False) as parquet:
        held = parquet.schema_arrow.names
        if len(set(held)) < len(held):
            raise ValueError("has two columns of one name")
        wanted = list(dict.fromkeys(choose(held)))
        absent = sorted(set(wanted) - set(held))
        if absent:
            raise ValueError(f"has no column {absent[0]!r}")
        return parquet.read(wanted, use_threads=False).select(wanted)


def column_digests(users: pd.DataFrame) -> dict[str, str]:
    """Hash every column of a per-user frame."""
    return {str(name): column_digest(users[name]) for name in users}


def column_digest(values: pd.Series | np.ndarray) -> str:
    """Hash a column in the order of its rows; numbers in the precision that published frames have.

    A frame keeps its hashes when it is compacted: all types of numbers give the same.
    """
    if values.dtype.kind in "fiub":
        numbers = np.array(values, np.float32) + np.float32(0.0)  # no negative zero
        numbers[np.isnan(numbers)] = np.nan
        content = numbers.tobytes()
    else:
        lists = [one.tolist() if isinstance(one, np.ndarray) else one for one in values]
        content = json.dumps(lists, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:16]
