"""Two files of a published board: all its records as JSON lines, and the values of their users as one parquet.

A record keeps a path of its own: `records.jsonl/CELL/s1-f0-KEY.json`, below the file that holds it. In the parquet
each cell is a row group, so that one of them is read without the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic_core import from_json

from bench.cells import Cell, safe_folder
from protocols.atomic_write import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData

RECORDS, USERS = "records.jsonl", "users.parquet"
#: Columns of the parquet that tell records apart; those of the per-user frames come after them.
KEYS = ("cell", "record", "seed", "fold")
_STEM = re.compile(r"s\d+-f\d+-[\w-]+")


@dataclass
class _Line:
    number: int
    text: bytes
    fault: str = ""
    parsed: Any = None
    """Content, until it is read for the first time: naming a record parses it, and parsing twice costs as much."""


def board_folder(dataset: str, protocol: str, fingerprint: str) -> Path:
    """Return the folder of a board below a results folder."""
    return safe_folder(dataset, protocol, fingerprint[:12])


def file_of(path: Path) -> Path | None:
    """Return the file of records that a path leads into; None for one that leads into none."""
    text = str(path)
    if RECORDS not in text:
        return None
    before, found, _ = f"{text}/".partition(f"/{RECORDS}/")
    return _file_in(before) if found else None


@lru_cache
def _file_in(folder: str) -> Path:
    return Path(folder, RECORDS)


def below(path: Path) -> list[Path]:
    """List the paths of all records in a file of records, or of one cell in it, in the order of lines.

    A line that is no record has a path too: reading that says what is wrong.
    """
    file = file_of(path) or path
    try:
        found = _lines(file, file.stat().st_mtime_ns)
        return [one for one in found if path == file or path in (one, one.parent)]
    except OSError:
        return [file]


def content(path: Path) -> Any:
    """Return the parsed JSON of a record by its path.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it holds no such record, or two, or the line is no JSON.
    """
    line = _line(path)
    if line.fault:
        raise ValueError(line.fault)
    parsed, line.parsed = line.parsed, None
    return from_json(line.text, allow_inf_nan=False) if parsed is None else parsed


def place(path: Path) -> str:
    """Name file and line of a record, for messages; the path of one with a file of its own."""
    file = file_of(path)
    if file is None:
        return str(path)
    try:
        return f"{file}, line {_line(path).number}"
    except (OSError, ValueError):
        return str(path)


def _line(path: Path) -> _Line:
    file = file_of(path) or path
    found = _lines(file, file.stat().st_mtime_ns)
    if path not in found:
        raise ValueError(f"{file} holds no {path.relative_to(file)}")
    return found[path]


@lru_cache(maxsize=8)
def _lines(file: Path, changed: int) -> dict[Path, _Line]:
    found: dict[Path, _Line] = {}
    for number, text in enumerate(file.read_bytes().split(b"\n"), 1):
        if not text.strip():
            continue
        line = _Line(number, text)
        path = file / (_name(line) or f"line-{number}.json")
        if path in found:
            line.fault = f"line {found[path].number} holds the same cell, seed and fold"
            path = file / f"line-{number}.json"
        found[path] = line
    return found


def _name(line: _Line) -> str:
    """Name a record by its content; "" for what is none."""
    try:
        record = line.parsed = from_json(line.text, allow_inf_nan=False)
        stem = f"s{record['seed']}-f{record['fold']}-{record['key']}"
        return f"{Cell(**record['cell']).folder.name}/{stem}.json" if _STEM.fullmatch(stem) else ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""


def columns(path: Path) -> list[str]:
    """Return the columns that the parquet holds of the cell of a record.

    Raises
    ------
    OSError, ValueError
        If it is missing or broken, or holds nothing of the cell.
    """
    return _cell(path).held


def users(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> pa.Table:
    """Return some columns of the per-user frame of a record.

    Parameters
    ----------
    choose
        Of the names of columns that are there, those to read.

    Raises
    ------
    OSError, ValueError
        As `columns`, or if a chosen one is not there.
    """
    cell = _cell(path)
    wanted = tuple(dict.fromkeys(choose(cell.held)))
    absent = sorted(set(wanted) - set(cell.held))
    if absent:
        raise ValueError(f"has no column {absent[0]!r}")
    tables = _tables(cell.file, cell.changed, cell.group, wanted)
    if path.stem not in tables:
        raise ValueError(f"holds nothing of {path.stem}")
    return tables[path.stem]


class _Cell(NamedTuple):
    file: Path
    changed: int
    group: int
    """Row group of the cell."""
    held: list[str]
    """Its columns that are not null throughout."""


def _cell(path: Path) -> _Cell:
    file = (file_of(path) or path).with_name(USERS)
    changed = file.stat().st_mtime_ns
    cells = _cells(file, changed)[1]
    if path.parent.name not in cells:
        raise ValueError(f"holds nothing of {path.parent.name}")
    return cells[path.parent.name]


@lru_cache(maxsize=8)
def _cells(file: Path, changed: int) -> tuple[FileMetaData, dict[str, _Cell]]:
    """Find the cells in a file, and keep its metadata, which take as long to read as a cell."""
    import pyarrow.parquet as pq

    found = {}
    with pq.ParquetFile(file) as parquet:
        about = parquet.metadata
        for at in range(about.num_row_groups):
            group = about.row_group(at)
            chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}
            if not {"cell", "record"} <= set(chunks) or not all(chunk.is_stats_set for chunk in chunks.values()):
                raise ValueError("is not as bench writes it: row groups without the statistics of their columns")
            held = [name for name, one in chunks.items() if one.statistics.null_count < group.num_rows]
            cell = _Cell(file, changed, at, [name for name in held if name not in KEYS])
            found[str(chunks["cell"].statistics.min)] = cell
    return about, found


@lru_cache(maxsize=2)
def _tables(file: Path, changed: int, group: int, wanted: tuple[str, ...]) -> dict[str, pa.Table]:
    """Read the users of a cell by the record's stem: all are asked for, one after the other."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, metadata=_cells(file, changed)[0], pre_buffer=False) as parquet:
        whole = parquet.read_row_group(group, [*wanted, "record"], use_threads=False)
    stems = whole["record"].combine_chunks().dictionary_encode()
    of, content = stems.indices.to_numpy(zero_copy_only=False), whole.select(wanted)
    return {str(stem): content.take(np.flatnonzero(of == at)) for at, stem in enumerate(stems.dictionary.to_pylist())}


def write(folder: Path, lines: Mapping[Path, dict[str, Any]], frames: Mapping[Path, pd.DataFrame]) -> None:
    """Write both files of a board: the users first, so that a record in place has its users.

    Parameters
    ----------
    folder
        Of the board.
    lines
        Records of JSON types by path, in the order of lines.
    frames
        Their per-user frames by path.
    """
    write_atomically(folder / USERS, lambda part: _write_frames(part, lines, frames))
    written = (json.dumps(line, sort_keys=True, separators=(",", ":"), allow_nan=False) for line in lines.values())
    write_atomically(folder / RECORDS, "".join(f"{line}\n" for line in written))


def _write_frames(part: Path, lines: Mapping[Path, dict[str, Any]], frames: Mapping[Path, pd.DataFrame]) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells: dict[str, list[pd.DataFrame]] = {}
    for path, frame in frames.items():
        keys = {"cell": path.parent.name, "record": path.stem}
        keys |= {name: lines[path][name] for name in ("seed", "fold")}
        cells.setdefault(path.parent.name, []).append(frame.assign(**keys))
    held = dict.fromkeys(name for parts in cells.values() for one in parts for name in one if name not in KEYS)
    names = [*KEYS, *held]
    tables = {}
    for cell, parts in cells.items():
        whole = pd.concat(parts, ignore_index=True)
        # NaN, of a user without such a target, is a value; null says that the column is not there
        tables[cell] = pa.table({name: pa.array(whole[name].to_numpy(), from_pandas=False) for name in whole})
    schema = pa.unify_schemas([table.schema for table in tables.values()])
    schema = pa.schema([schema.field(name) for name in names])
    with pq.ParquetWriter(part, schema, compression="zstd", compression_level=19) as writer:
        for table in tables.values():
            absent = {name: pa.nulls(table.num_rows, schema.field(name).type) for name in names}
            content = {name: table[name] if name in table.column_names else absent[name] for name in names}
            writer.write_table(pa.table(content, schema), row_group_size=table.num_rows)
