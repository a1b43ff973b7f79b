"""RecBole's atomic files: tab-separated, a header of `field:type`, quotes without meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.datasets.files.tables import Table
from protocols.datasets.files.text_tables import Format, read_table
from protocols.errors import DataError
from protocols.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

TYPES = ("token", "token_seq", "float", "float_seq")
FORM = Format(delimiter="\t", quoted=False)
# Rows whose lists are looked through for ids of items.
SAMPLE = 1000


@dataclass(frozen=True, eq=False)
class AtomicTable(Table):
    """Rows of an atomic file.

    Attributes
    ----------
    kinds
        Type of each field.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)

    def is_sequence(self, name: str) -> bool:
        """Return True if each cell of a field holds a list, separated by spaces."""
        return self.kinds.get(name, "").endswith("_seq")


def read_atomic(path: Path) -> AtomicTable:
    """Read one atomic file; columns are called by their field, without the type.

    Raises
    ------
    DataError
        If a header cell is not `field:type`, or as `read_table` does.
    """
    table = read_table(path, FORM)
    kinds: dict[str, str] = {}
    for cell in table.names:
        name, colon, kind = cell.rpartition(":")
        if not colon or kind not in TYPES:
            raise DataError(
                f"{path}, line 1: the header cell {cell!r} is not field:type, with type one of {', '.join(TYPES)}",
                remedy="is it an atomic file of RecBole (tab-separated)? For other files: --dataset files",
            )
        if name in kinds:
            raise DataError(f"{path}, line 1: two fields are called {name!r}", remedy="rename or delete one of them")
        kinds[name] = kind
    return AtomicTable(table.parts, table.cells.rename_columns(list(kinds)), tuple(kinds), kinds=kinds)


def events(table: AtomicTable, user: str, item: str, timestamp: str) -> tuple[Table, bool]:
    """Turn lists of items, oldest first, into one row an event.

    Parameters
    ----------
    user, item, timestamp
        Names of the fields; `item` is one of lists.

    Returns
    -------
    tuple
        Table of these three fields, and True if it has times; otherwise `timestamp` is the place in the list, from 0.

    Raises
    ------
    DataError
        If times are no lists of the same lengths, or, without times, a user has several lists.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    items = _lists(table, item)
    counts = pc.list_value_length(items).to_numpy()
    rows = np.repeat(np.arange(len(table)), counts)
    timed = timestamp in table
    if timed and not table.is_sequence(timestamp):
        raise table.error(
            int((counts > 1).argmax()),
            f"{len(table)} lists of {item} hold {counted(len(rows), 'event')}, and {timestamp} is one time a list",
            remedy=f"write {timestamp}:float_seq, a time an event, or one row an event",
        )
    if timed:
        stamps = _lists(table, timestamp)
        other = pc.list_value_length(stamps).to_numpy() != counts
        if other.any():
            raise table.error(
                int(other.argmax()), f"{item} and {timestamp} have other numbers of entries", "a time an event"
            )
        times = pc.list_flatten(stamps)
    else:
        users = table.column(user).to_pylist()
        known: set[str] = set()
        for row, one in enumerate(users):
            if one in known:
                raise table.error(row, f"user {one!r} has a list already, and there are no times", "one list a user")
            known.add(one)
        times = pa.array((np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(str))
    cells = pa.table({user: table.column(user).take(pa.array(rows)), item: pc.list_flatten(items), timestamp: times})
    return Table(table.parts, cells, (user, item, timestamp), rows), timed


def refuse_unread_lists(table: AtomicTable, item: str, option: str) -> None:
    """Refuse a log whose lists hold items that are read as no events.

    Raises
    ------
    DataError
        Naming the field and the number of its entries.
    """
    import pyarrow.compute as pc

    known = set(table.column(item).unique().to_pylist())
    for name in table.names:
        if name == item or not table.is_sequence(name) or table.kinds[name] != "token_seq":
            continue
        lists = _lists(table, name)
        sample = pc.list_flatten(lists[:SAMPLE]).to_pylist()
        if sum(one in known for one in sample) * 2 > len(sample):
            count = len(pc.list_flatten(lists))
            raise DataError(
                f"{table.path}: field {name!r} holds {count} items in {len(table)} lists, which are read as no events",
                remedy=f"--set {option}.item={name} to read the lists, --set {option}.lists=ignore to leave them out",
            )


def _lists(table: Table, name: str) -> pa.ListArray:
    import pyarrow.compute as pc

    cells = pc.ascii_trim_whitespace(table.column(name)).combine_chunks()
    empty = pc.index(pc.equal(cells, ""), True).as_py()
    if empty >= 0:
        raise table.error(empty, f"{name} is an empty list", remedy="delete the line")
    return pc.ascii_split_whitespace(cells)
