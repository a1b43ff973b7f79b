"""Tables of files and frames: columns as text, whatever they were read from; errors name file and line or row.

Cells stay text until `columns` and `times` parse them: `007` and `7` remain two ids, and a log gives the same dataset
from a text file, from parquet or from a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Whole numbers up to here are exact in a float64.
EXACT = 2**53


@dataclass(frozen=True)
class Part:
    """File or frame that rows came from.

    Attributes
    ----------
    path
        The file, or the name of the frame.
    rows
        Number of its rows.
    line
        Gives the line, from 1, in which a row (from 0) begins; None where there are rows only.
    """

    path: Path | str
    rows: int
    line: Callable[[int], int] | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one or several files of one layout.

    Attributes
    ----------
    parts
        The files, in the order of their rows.
    cells
        The columns that were read, by names without surrounding spaces.
    names
        All columns of the files, also those that were not read.
    rows
        int64 [N]: numbers of the rows within all files; None: all rows in order.
    notes
        What was found out on reading (delimiter, unit of times), in sentences for the user.
    """

    parts: tuple[Part, ...]
    cells: pa.Table
    names: tuple[str, ...]
    rows: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)
    _texts: dict[str, pa.ChunkedArray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.cells.num_rows

    def __contains__(self, column: str) -> bool:
        return column in self.names

    @property
    def path(self) -> Path | str:
        """The first file."""
        return self.parts[0].path

    def column(self, name: str, remedy: str = "") -> pa.ChunkedArray:
        """Return one column as text; "" where a cell is empty.

        Raises
        ------
        DataError
            If there is none of this name, or its cells have no text form (lists, for example).
        """
        self.require(name, remedy)
        if name not in self._texts:
            try:
                self._texts[name] = as_text(self.cells[name])
            except (TypeError, NotImplementedError, ValueError) as error:  # of pyarrow
                kind = self.cells[name].type
                raise DataError(
                    f"{self.path}: column {name!r} holds {kind}", remedy="one value a row is needed: numbers or text"
                ) from error
        return self._texts[name]

    def require(self, name: str, remedy: str = "") -> None:
        """Refuse the name of a column that is not there."""
        if name not in self:
            have = ", ".join(map(repr, self.names))
            where = f"{self.path}, line 1" if self.parts[0].line else str(self.path)
            raise DataError(f"{where}: no column {name!r}; the columns are {have}", remedy)

    def take(self, mask: np.ndarray) -> Table:
        """Keep some rows; they are still found in their files.

        Parameters
        ----------
        mask
            Bool [N].
        """
        import numpy as np
        import pyarrow as pa

        rows = np.flatnonzero(mask) if self.rows is None else self.rows[mask]
        return replace(self, cells=self.cells.filter(pa.array(mask)), rows=rows, _texts={})

    def place(self, row: int) -> str:
        """Line or row of the file in which row `row` of this table (from 0) stands, as text."""
        part, within = self._found(row)
        return f"line {part.line(within)}" if part.line else f"row {within}"

    def error(self, row: int, message: str, remedy: str = "") -> DataError:
        """Build the error for row `row` (from 0), to be raised."""
        return DataError(f"{self._found(row)[0].path}, {self.place(row)}: {message}", remedy)

    def _found(self, row: int) -> tuple[Part, int]:
        import numpy as np

        row = row if self.rows is None else int(self.rows[row])
        ends = np.cumsum([part.rows for part in self.parts])
        at = int(np.searchsorted(ends, row, side="right"))
        return self.parts[at], row - (int(ends[at - 1]) if at else 0)


def joined(tables: Iterable[Table]) -> Table:
    """Put files of one layout under one another.

    Raises
    ------
    DataError
        If one lacks a column of the first.
    """
    import pyarrow as pa

    first, *others = tables
    if not others:
        return first
    for other in others:
        for name in first.cells.column_names:
            if name not in other.cells.column_names:
                raise DataError(
                    f"{other.path} has no column {name!r}, and {first.path} has",
                    remedy="files of one log need the same columns",
                )
    names = first.cells.column_names
    # one type for all: a column may be a number in one file and text in another
    cells = pa.concat_tables(pa.table({name: table.column(name) for name in names}) for table in (first, *others))
    parts = tuple(part for table in (first, *others) for part in table.parts)
    notes = list(dict.fromkeys(note for table in (first, *others) for note in table.notes))
    return Table(parts, cells, first.names, notes=notes)


def as_text(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write cells as text: whole numbers without a point, times in ISO 8601 (UTC if they have a zone), "" for null.

    Raises
    ------
    pyarrow.ArrowNotImplementedError, pyarrow.ArrowInvalid
        If the type has no text form.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = cells.type
    if pa.types.is_string(kind) and not cells.null_count:
        return cells
    if pa.types.is_dictionary(kind):
        cells = cells.cast(kind.value_type)
    elif pa.types.is_floating(kind):
        cells = _without_points(cells.cast("double"))
    elif pa.types.is_timestamp(kind) and kind.tz:
        cells = cells.cast(pa.timestamp(kind.unit, "UTC"))
    elif pa.types.is_nested(kind) or pa.types.is_duration(kind):
        raise TypeError(f"{kind} has no text form")
    return pc.fill_null(pc.cast(cells, "string"), "")


def _without_points(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turn floats into whole numbers where all are: ids and times often became floats beside an empty cell."""
    import pyarrow.compute as pc

    cells = pc.if_else(pc.is_nan(cells), None, cells)
    least, most = pc.min_max(cells).as_py().values()
    exact = least is not None and least > -EXACT and most < EXACT
    return cells.cast("int64") if exact and pc.all(pc.equal(pc.floor(cells), cells)).as_py() else cells
