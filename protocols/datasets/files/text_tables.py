"""Text tables (csv, tsv, RecBole atomic files) read with pyarrow: cells are text, errors name file and line.

Cells stay text until `columns` parses them, so that `007` and `7` remain two ids. Finding the line of a row
means reading the file again, one record after the other: it is done only for an error message.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# The longest record that can be read.
BLOCK_BYTES = 1 << 25
# First bytes of files that are no UTF-8 text, with the fault and the remedy.
FOREIGN = {
    b"\xff\xfe": ("is UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("is UTF-16 text", "save it as UTF-8"),
    b"\x1f\x8b": ("is compressed", "unpack it with gunzip"),
    b"PK\x03\x04": ("is a zip file or a spreadsheet, no text", "unpack it, or save the sheet as CSV (UTF-8)"),
}


@dataclass(frozen=True)
class Format:
    """Delimiter and quoting of a file.

    Attributes
    ----------
    delimiter
        One character between cells.
    quoted
        True: a cell that begins with `"` ends at the next single `"`; False: a quote is a character like others.
    """

    delimiter: str = ","
    quoted: bool = True


@dataclass(frozen=True, eq=False)
class TextTable:
    """Rows of one file, all cells text.

    Attributes
    ----------
    path, form
        The file and its format.
    cells
        The columns, by names without surrounding spaces.
    header
        True when the first record holds the names.
    """

    path: Path
    form: Format
    cells: pa.Table
    header: bool

    def __len__(self) -> int:
        return self.cells.num_rows

    def __contains__(self, column: str) -> bool:
        return column in self.cells.column_names

    def column(self, name: str, remedy: str = "") -> pa.ChunkedArray:
        """Return one column.

        Raises
        ------
        DataError
            If there is none of this name.
        """
        if name not in self:
            have = ", ".join(map(repr, self.cells.column_names))
            raise DataError(f"{self.path}, line 1: no column {name!r}; the columns are {have}", remedy)
        return self.cells[name]

    def line(self, row: int) -> int:
        """Line of the file, from 1, in which row `row` (from 0) begins."""
        for number, (line, _) in enumerate(records(self.path, self.form)):
            if number == row + self.header:
                return line
        return row + 1 + self.header

    def error(self, row: int, message: str, remedy: str = "") -> DataError:
        """Build the error for row `row` (from 0), to be raised."""
        return DataError(f"{self.path}, line {self.line(row)}: {message}", remedy)


def read_table(path: Path, form: Format, names: Sequence[str] = ()) -> TextTable:
    """Read a file with or without a header of column names.

    Parameters
    ----------
    path
        UTF-8, with or without a byte order mark; lines end with LF, CRLF or CR.
    form
        Its delimiter and quoting.
    names
        For files without a header: the names. A first record that equals them is a header nevertheless.

    Raises
    ------
    DataError
        If the file is absent, empty, no UTF-8 text, has no rows, or rows with too many or too few cells.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    path = Path(path)
    first = _first_record(path, form)
    header = not names or first == list(names)
    columns = [name.strip() for name in first] if not names else list(names)
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: two columns are called {twice!r}", remedy="rename or delete one of them")
    # positions as names: the names in a header may be neither unique nor clean
    places = [str(i) for i in range(len(columns))]
    try:
        cells = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=places, block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=form.delimiter,
                quote_char='"' if form.quoted else False,
                newlines_in_values=form.quoted,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={place: pa.string() for place in places}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explain(path, form, len(columns), error) from error
    cells = cells.slice(int(header)).rename_columns(columns)
    table = TextTable(path, form, cells, header)
    if not len(table):
        raise DataError(f"{path} has a header but no rows", remedy="is this the right file?")
    if form.quoted:
        _check_last_quote(table)
    return table


def records(path: Path, form: Format) -> Iterator[tuple[int, list[str] | None]]:
    """Read a file record by record: (line, cells); cells are None where a record cannot be read."""
    csv.field_size_limit(sys.maxsize)
    with path.open("rb") as handle:
        start = handle.read(1 << 20)
    # only in files of the oldest kind does a lone CR end a line; elsewhere it is text within quotes
    newline = "\r" if b"\r" in start and b"\n" not in start else "\n"
    with path.open(encoding="utf-8-sig", errors="replace", newline=newline) as text:
        rows = csv.reader(text, delimiter=form.delimiter, quoting=csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE)
        line = 1
        while True:
            try:
                cells: list[str] | None = next(rows)
            except StopIteration:
                return
            except csv.Error:
                cells = None
            if cells is None or cells:
                yield line, cells
            line = rows.line_num + 1


def _first_record(path: Path, form: Format) -> list[str]:
    try:
        with path.open("rb") as handle:
            start = handle.read(4)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    for magic, (what, remedy) in FOREIGN.items():
        if start.startswith(magic):
            raise DataError(f"{path} {what}", remedy)
    for _, cells in records(path, form):
        return cells or []
    raise DataError(f"{path} is empty", remedy="is this the right file?")


def _explain(path: Path, form: Format, width: int, error: Exception) -> DataError:
    """Find the line that pyarrow could not read."""
    with path.open("rb") as handle:
        for line, content in enumerate(handle, start=1):
            try:
                content.decode()
            except UnicodeDecodeError:
                return DataError(
                    f"{path}, line {line}: not UTF-8", remedy=f"for example: iconv -f latin1 -t utf-8 {path.name}"
                )
    for line, cells in records(path, form):
        if cells is None:
            return DataError(
                f"{path}, line {line}: a carriage return outside quotes",
                remedy='put the cell into double quotes: "..."',
            )
        if len(cells) != width:
            return DataError(
                f"{path}, line {line}: {len(cells)} cells where there are {width} columns",
                remedy=f"a cell that holds {form.delimiter!r}, a quote or a line break must stand in double quotes"
                if form.quoted
                else "cells must hold neither tabs nor line breaks",
            )
    return DataError(f"{path}: {' '.join(str(error).split())}")


def _check_last_quote(table: TextTable) -> None:
    """Refuse a quote that is opened and never closed: it silently swallows all rows after it."""
    row = len(table) - 1
    last = table.cells[table.cells.num_columns - 1][row].as_py()
    raw = last.encode()
    with table.path.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - len(raw) - 16))
        tail = handle.read().rstrip(b"\r\n")
    # an unquoted cell ends the file as it is, after its delimiter or a line break; a quoted one ends with its quote
    plain = tail.endswith(raw) and tail[: len(tail) - len(raw)].endswith((table.form.delimiter.encode(), b"\n", b"\r"))
    if not (tail.endswith(b'"') or (plain and "\n" not in last)):
        raise table.error(row, "a quote is opened and never closed", remedy='close it, or write it twice: ""')
