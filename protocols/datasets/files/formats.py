"""Reading of one log from files of any format, or from a frame: text, parquet, Arrow, JSON lines; shards and globs."""

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.datasets.files import text_tables
from protocols.datasets.files.tables import Part, Table, joined
from protocols.datasets.files.text_tables import Format
from protocols.errors import DataError, UserError

if TYPE_CHECKING:
    import pyarrow as pa

#: Paths as given: one, several, a pattern with * or ?, or a frame of pandas, polars or pyarrow.
Source = Any
JSON_LINES = (".jsonl", ".ndjson", ".json")
PACKED = (".gz", ".zst", ".bz2")


@dataclass(frozen=True)
class Reading:
    """Rules for files of one log.

    Attributes
    ----------
    option
        Option that names the files, such as `files.interactions`.
    columns
        Columns to read, each used if it is there.
    needed
        Those of them without which the log cannot be read: they help to tell the delimiter.
    delimiter
        Of text; "": told from the first lines.
    encoding, header
        Of text.
    """

    option: str
    columns: Collection[str]
    needed: Collection[str] = ()
    delimiter: str = ""
    encoding: str = "utf-8"
    header: bool = True


def read(source: Source, reading: Reading) -> Table:
    """Read a frame, a file, or several of one layout.

    Raises
    ------
    UserError
        If there is no file, or as the reader of the format.
    """
    if not isinstance(source, str | Path | list | tuple):
        return _frame(source, reading)
    return joined(_file(path, reading) for path in paths(source, reading.option))


def paths(source: str | Path | Sequence[str | Path], option: str) -> list[Path]:
    """List the files that a name, names, or patterns stand for, patterns in the order of names.

    Text in brackets is a list: `[a.csv, b.csv]`.

    Raises
    ------
    UserError
        If a pattern fits no file, or a file is named twice.
    """
    if isinstance(source, str) and source.startswith("[") and source.endswith("]") and not Path(source).exists():
        import yaml

        source = [str(one) for one in yaml.safe_load(source)]
    found: list[Path] = []
    for one in [source] if isinstance(source, str | Path) else source:
        path = Path(one).expanduser().absolute()
        if not path.exists() and glob.has_magic(str(one)):
            fitting = sorted(Path(name) for name in glob.glob(str(path)) if Path(name).is_file())  # noqa: PTH207
            if not fitting:
                raise DataError(f"{option}: no file fits {path}", remedy="check the path")
            found += fitting
        elif path.is_dir():
            raise DataError(f"cannot read {path}: it is a folder", remedy=f"--set '{option}={path}/*'")
        else:
            found.append(path)
    twice = next((path for at, path in enumerate(found) if path in found[:at]), None)
    if twice is not None:
        raise UserError(f"{option}: {twice} is named twice")
    return found


def _file(path: Path, reading: Reading) -> Table:
    kind = path.suffixes[-2:-1] if path.suffix in PACKED else path.suffixes[-1:]
    start = _start(path)
    if start.startswith(b"PAR1"):
        return _parquet(path, reading)
    if start.startswith(b"ARROW1"):
        return _arrow(path, reading)
    if kind and kind[0].lower() in JSON_LINES:
        return _json_lines(path, reading)
    return _text(path, reading)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(6)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error


def _text(path: Path, reading: Reading) -> Table:
    form = Format(reading.delimiter or ",", encoding=reading.encoding)
    told = text_tables.sniff(path, form, reading.needed if reading.header else ()) if not reading.delimiter else ""
    form = replace(form, delimiter=told or form.delimiter, quoted=told != "::")
    table = text_tables.read_table(path, form, only=reading.columns, header=reading.header)
    if told not in ("", ","):
        table.notes.append(f"cells are separated by {'tabs' if told == chr(9) else told}")
    return table


def _parquet(path: Path, reading: Reading) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(path).names
        cells = parquet.read_table(path, columns=_present(names, reading), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no readable parquet file: {' '.join(str(error).split())}", "fetch it again"
        ) from error
    return _table(path, cells, names)


def _arrow(path: Path, reading: Reading) -> Table:
    import pyarrow as pa

    try:
        cells = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no readable Arrow file: {' '.join(str(error).split())}", "write it again"
        ) from error
    return _table(path, cells.select(_present(cells.column_names, reading)), cells.column_names)


def _json_lines(path: Path, reading: Reading) -> Table:
    """One object a line; numbers keep their digits as they are read as text."""
    import polars as pl

    content = text_tables.read_content(path, Format(encoding=reading.encoding))
    start = content[: 1 << 20].to_pybytes().lstrip()
    if start.startswith(b"["):
        raise DataError(f"{path} is one JSON list", remedy=f"one object a line, for example: jq -c '.[]' {path.name}")
    data = content.to_pybytes()
    try:
        # all rows: a column may first appear late
        schema = pl.scan_ndjson(data, infer_schema_length=None).collect_schema()
        read = {name: schema[name] for name in reading.columns if name in schema}
        texts = {name: kind if kind.is_nested() else pl.String() for name, kind in read.items()}
        frame = pl.read_ndjson(data, schema=texts or {next(iter(schema)): pl.String()})
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not JSON, one object a line: {str(error).splitlines()[0]}") from error
    found = frame.to_arrow()
    if not len(found):
        raise DataError(f"{path} is empty", remedy="is this the right file?")
    return Table((Part(path, len(found), lambda row: _json_line(data, row)),), found, tuple(schema))


def _json_line(data: bytes, row: int) -> int:
    filled = (number for number, line in enumerate(data.split(b"\n"), start=1) if line.strip())
    return next((number for at, number in enumerate(filled) if at == row), row + 1)


def _frame(source: Any, reading: Reading) -> Table:
    import pyarrow as pa

    name = reading.option.rpartition(".")[2]
    try:
        if hasattr(source, "iloc"):  # pandas: an index with a name is a column
            source = source.reset_index() if source.index.name else source
            cells = pa.Table.from_pandas(source, preserve_index=False)
        else:
            cells = pa.table(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(
            f"{name}: {' '.join(str(error).split())}", remedy="a frame of pandas, polars or pyarrow"
        ) from error
    return _table(name, cells.select(_present(cells.column_names, reading)), cells.column_names)


def _present(names: Sequence[str], reading: Reading) -> list[str]:
    return [name for name in names if name in reading.columns]


def _table(path: Path | str, cells: pa.Table, names: Sequence[str]) -> Table:
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}", remedy="rename or delete one of them")
    if not cells.num_rows and cells.num_columns:
        raise DataError(f"{path} has no rows", remedy="is this the right file?")
    rows = cells.num_rows
    return Table((Part(path, rows),), cells, tuple(names))
