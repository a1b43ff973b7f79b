"""RecBole's atomic files: tab-separated, a header of `field:type`, quotes without meaning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from protocols.datasets.files.text_tables import Format, TextTable, read_table
from protocols.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")
FORM = Format(delimiter="\t", quoted=False)


def read_atomic(path: Path) -> TextTable:
    """Read one atomic file; columns are called by their field, without the type.

    Raises
    ------
    DataError
        If a header cell is not `field:type`, or as `read_table` does.
    """
    table = read_table(path, FORM)
    fields = []
    for cell in table.cells.column_names:
        field, colon, kind = cell.rpartition(":")
        if not colon or kind not in TYPES:
            raise DataError(
                f"{path}, line 1: the header cell {cell!r} is not field:type, with type one of {', '.join(TYPES)}",
                remedy="is it an atomic file of RecBole (tab-separated)? For other files: --dataset csv",
            )
        fields.append(field)
    twice = next((field for i, field in enumerate(fields) if field in fields[:i]), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: two fields are called {twice!r}", remedy="rename or delete one of them")
    return replace(table, cells=table.cells.rename_columns(fields))
