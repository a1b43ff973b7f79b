"""Text tables (csv, tsv, RecBole atomic files) read with pyarrow: cells are text, errors name file and line.

Finding the line of a row means reading the file again, one record after the other: it is done only for an error
message.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.datasets.files.tables import Part, Table
from protocols.errors import DataError, UserError
from protocols.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

# The longest record that can be read.
BLOCK_BYTES = 1 << 25
# First bytes of compressed files, with pyarrow's name of the codec.
CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
# Stands for a delimiter of several characters, which pyarrow has not.
UNIT_SEPARATOR = "\x1f"
# Separators that are looked for, the likeliest first.
DELIMITERS = (",", "\t", ";", "|", "::")
# First bytes of files that are no UTF-8 text, with the fault and the remedy.
FOREIGN = {
    b"\xff\xfe": ("is UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("is UTF-16 text", "save it as UTF-8"),
    b"PK\x03\x04": ("is a zip file or a spreadsheet, no text", "unpack it, or save the sheet as CSV (UTF-8)"),
}


@dataclass(frozen=True)
class Format:
    """Delimiter, quoting and encoding of a file.

    Attributes
    ----------
    delimiter
        Between cells, of one character or several.
    encoding
        As Python names them.
    quoted
        True: a cell that begins with `"` ends at the next single `"`; False: a quote is a character like others.
    """

    delimiter: str = ","
    quoted: bool = True
    encoding: str = "utf-8"


def read_table(
    path: Path, form: Format, names: Sequence[str] = (), only: Collection[str] | None = None, header: bool = True
) -> Table:
    """Read a file with or without a header of column names.

    Parameters
    ----------
    path
        Text, with or without a byte order mark, plain or compressed with gzip, zstd or bzip2; lines end with LF, CRLF
        or CR.
    form
        Its delimiter, quoting and encoding.
    names
        For files without a header: the names. A first record that equals them is a header nevertheless.
    only
        Columns to read; None: all.
    header
        False: there is no header, and columns are called by their numbers from 1, as text.

    Raises
    ------
    DataError
        If the file is absent, empty, no text, has no rows, or rows with too many or too few cells.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    path = Path(path)
    content = read_content(path, form)
    form = single(form)
    first = first_record(path, content, form)
    if not header:
        names = [str(number) for number in range(1, len(first) + 1)]
    header = not names or (header and first == list(names))
    columns = [name.strip() for name in first] if not names else list(names)
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: two columns are called {twice!r}", remedy="rename or delete one of them")
    # positions as names: the names in a header may be neither unique nor clean
    places = [str(i) for i in range(len(columns))]
    wanted = [at for at, name in enumerate(columns) if only is None or name in only] or [0]
    # the last column too: it tells if a quote was closed
    read = list(dict.fromkeys([*wanted, len(columns) - 1]))
    try:
        cells = arrow_csv.read_csv(
            pa.BufferReader(content),
            read_options=arrow_csv.ReadOptions(column_names=places, block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=form.delimiter,
                quote_char='"' if form.quoted else False,
                newlines_in_values=form.quoted,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={place: pa.string() for place in places},
                strings_can_be_null=False,
                include_columns=[places[at] for at in read],
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explain(path, content, form, len(columns), error) from error
    cells = cells.slice(int(header)).rename_columns([columns[at] for at in read])
    part = Part(path, cells.num_rows, lambda row: _line(content, form, row + header))
    table = Table((part,), cells, tuple(columns))
    if not len(table):
        raise DataError(f"{path} has a header but no rows", remedy="is this the right file?")
    if form.quoted:
        _check_last_quote(table, content, form)
    return table


def read_content(path: Path, form: Format) -> pa.Buffer:
    """Read a file as UTF-8, unpacked where it is compressed; a plain one is mapped.

    Raises
    ------
    DataError
        If it cannot be read, unpacked or decoded.
    """
    import pyarrow as pa

    try:
        with path.open("rb") as handle:
            start = handle.read(4)
        content = pa.memory_map(str(path)).read_buffer() if start else pa.py_buffer(b"")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", remedy="check the path") from error
    codec = next((codec for magic, codec in CODECS.items() if start.startswith(magic)), None)
    if codec is not None:
        try:
            content = pa.CompressedInputStream(pa.BufferReader(content), codec).read_buffer()
        except OSError as error:
            raise DataError(
                f"{path} is compressed ({codec}) and cannot be unpacked: {error}", "fetch it again"
            ) from error
        start = content[:4].to_pybytes()
    for magic, (what, remedy) in FOREIGN.items():
        if start.startswith(magic):
            raise DataError(f"{path} {what}", remedy)
    several = len(form.delimiter) > 1
    if form.encoding.lower() not in ("utf-8", "utf8") or several:
        try:
            text = content.to_pybytes().decode(form.encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{path} is not {form.encoding}: {error}", remedy="name another encoding") from error
        if several and UNIT_SEPARATOR in text:
            raise DataError(f"{path} holds the control character 0x1f", remedy="use a delimiter of one character")
        content = pa.py_buffer((text.replace(form.delimiter, UNIT_SEPARATOR) if several else text).encode())
    return content


def single(form: Format) -> Format:
    """Return the format of what `read_content` gave: a delimiter of several characters has become one."""
    return Format(UNIT_SEPARATOR, form.quoted) if len(form.delimiter) > 1 else form


def sniff(path: Path, form: Format, wanted: Collection[str]) -> str:
    """Tell the delimiter of a file by its first lines.

    Parameters
    ----------
    path, form
        The file; the delimiter of `form` is not used.
    wanted
        Names of columns: the delimiter that gives them all is taken.

    Returns
    -------
    str
        One of `DELIMITERS`: that with the names, else the one that cuts the first lines into the most cells, the same
        number in each.
    """
    start = read_content(path, Format(",", form.quoted, form.encoding))[: 1 << 16].to_pybytes().decode(errors="replace")
    lines = [line for line in start.splitlines() if line.strip()][:20]
    if len(start) >= 1 << 16 and len(lines) > 1:
        lines = lines[:-1]
    found = (1, ",")
    for delimiter in DELIMITERS:
        one = UNIT_SEPARATOR if len(delimiter) > 1 else delimiter
        text = [line.replace(delimiter, one) for line in lines]
        rows = [row for row in csv.reader(text, delimiter=one) if row]
        if rows and len(wanted) > 1 and set(wanted) <= {cell.strip() for cell in rows[0]}:
            return delimiter
        widths = {len(row) for row in rows}
        if len(widths) == 1 and (width := widths.pop()) > found[0]:
            found = (width, delimiter)
    return found[1]


def records(content: pa.Buffer, form: Format) -> Iterator[tuple[int, list[str] | None]]:
    """Read a file record by record: (line, cells); cells are None where a record cannot be read."""
    import pyarrow as pa

    csv.field_size_limit(sys.maxsize)
    start = content[: 1 << 20].to_pybytes()
    # only in files of the oldest kind does a lone CR end a line; elsewhere it is text within quotes
    newline = "\r" if b"\r" in start and b"\n" not in start else "\n"
    with io.TextIOWrapper(pa.BufferReader(content), "utf-8-sig", errors="replace", newline=newline) as text:
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


def _line(content: pa.Buffer, form: Format, record: int) -> int:
    """Line of the file, from 1, in which a record (from 0) begins."""
    for number, (line, _) in enumerate(records(content, form)):
        if number == record:
            return line
    return record + 1


def first_record(path: Path, content: pa.Buffer, form: Format) -> list[str]:
    """Read the first record of a file.

    Raises
    ------
    DataError
        If it has none.
    """
    for _, cells in records(content, form):
        return cells or []
    raise DataError(f"{path} is empty", remedy="is this the right file?")


def _explain(path: Path, content: pa.Buffer, form: Format, width: int, error: Exception) -> DataError:
    """Find the line that pyarrow could not read."""
    for line, text in enumerate(content.to_pybytes().split(b"\n"), start=1):
        try:
            text.decode()
        except UnicodeDecodeError:
            return DataError(
                f"{path}, line {line}: not UTF-8", remedy=f"for example: iconv -f latin1 -t utf-8 {path.name}"
            )
    for line, cells in records(content, form):
        if cells is None:
            return DataError(
                f"{path}, line {line}: a carriage return outside quotes",
                remedy='put the cell into double quotes: "..."',
            )
        if len(cells) != width:
            return DataError(
                f"{path}, line {line}: {counted(len(cells), 'cell')} where there are {counted(width, 'column')}",
                remedy=f"a cell that holds {form.delimiter!r}, a quote or a line break must stand in double quotes"
                if form.quoted
                else "cells must hold neither tabs nor line breaks",
            )
    return DataError(f"{path}: {' '.join(str(error).split())}")


def _check_last_quote(table: Table, content: pa.Buffer, form: Format) -> None:
    """Refuse a quote that is opened and never closed: it silently swallows all rows after it."""
    row = len(table) - 1
    last = table.cells[table.names[-1]][row].as_py()
    raw = last.encode()
    tail = content[max(0, content.size - len(raw) - 16) :].to_pybytes().rstrip(b"\r\n")
    # an unquoted cell ends the file as it is, after its delimiter or a line break; a quoted one ends with its quote
    plain = tail.endswith(raw) and tail[: len(tail) - len(raw)].endswith((form.delimiter.encode(), b"\n", b"\r"))
    if not (tail.endswith(b'"') or (plain and "\n" not in last)):
        raise table.error(row, "a quote is opened and never closed", remedy='close it, or write it twice: ""')


def delimiter_of(given: str, option: str) -> str:
    """Read a delimiter as typed: a character or several, or `tab`.

    Raises
    ------
    UserError
        If it cannot stand between cells.
    """
    delimiter = "\t" if given in ("tab", "\\t") else given
    if not delimiter or not delimiter.isascii() or set(delimiter) & set('"\r\n') or len(delimiter) > 3:
        raise UserError(f"{option}={given!r}: expected a character, such as ; or tab")
    return delimiter
