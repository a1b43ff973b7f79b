"""Interaction and item frames of a dataset from parsed columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from protocols.datasets.files import columns
from protocols.datasets.files.tables import Table
from protocols.datasets.files.times import TimeFormat, times
from protocols.wording import counted

if TYPE_CHECKING:
    import pandas as pd

UnknownItems = Literal["refuse", "drop"]


def log_frame(table: Table, user: str, item: str, timestamp: str, form: TimeFormat) -> pd.DataFrame:
    """Read user, item and time of every row; ids are categories, which large logs hash once.

    Parameters
    ----------
    table
        The interactions.
    user, item, timestamp
        Names of its columns.
    form
        Of the times.

    Raises
    ------
    DataError
        See `protocols.datasets.files.columns` and `times`.
    """
    import pandas as pd

    remedy = f"--set {form.option}.{{}}=NAME says which column it is"
    ids = {}
    for name, column, what in (("user_id", user, "user"), ("item_id", item, "item")):
        codes, words = columns.coded_ids(table, column, remedy.format(what))
        ids[name] = pd.Categorical.from_codes(codes, pd.Index(words))  # type: ignore[arg-type]  # stubs want a list
    table.require(timestamp, remedy.format("timestamp"))
    return pd.DataFrame({**ids, "timestamp": times(table, timestamp, form)})


def item_frame(table: Table, item: str, found: Mapping[str, Any], option: str) -> tuple[pd.DataFrame, int]:
    """Build the frame of the items.

    Parameters
    ----------
    table, item
        The items and the name of their id column.
    found
        Further columns by the dataset's names, [N] each.
    option
        Name of the plug-in, for remedies.

    Returns
    -------
    tuple
        Frame indexed by item_id, and the number of exact duplicates that were dropped.

    Raises
    ------
    DataError
        If two rows of one item differ.
    """
    import pandas as pd

    names = columns.ids(table, item, f"--set {option}.item=NAME says which column it is")
    items = pd.DataFrame({"item_id": names, **found})
    repeated = items.duplicated().to_numpy()
    twice = items["item_id"].duplicated().to_numpy() & ~repeated
    if twice.any():
        row = int(twice.argmax())
        first = int(np.flatnonzero(names == names[row])[0])
        raise table.error(
            row,
            f"item {names[row]!r} is on {table.place(first)} already, with other values",
            remedy="keep one row an item",
        )
    return items[~repeated].set_index("item_id"), int(repeated.sum())


def known_only(
    log: pd.DataFrame, items: pd.DataFrame, table: Table, unknown: UnknownItems, option: str
) -> tuple[pd.DataFrame, list[str]]:
    """Refuse or drop interactions with items that the items file lacks.

    Returns
    -------
    tuple
        The log, and sentences for the dataset's card.

    Raises
    ------
    DataError
        If there are such rows and they are to be refused, or none is left.
    """
    strange = ~log["item_id"].isin(items.index).to_numpy()
    if not strange.any():
        return log, []
    row, count = int(strange.argmax()), int(strange.sum())
    kinds = log["item_id"][strange].nunique()
    if unknown == "refuse" or count == len(log):
        raise table.error(
            row,
            f"item {log['item_id'][row]!r} is not in the items file ({count} such rows of {len(log)}, "
            f"{counted(kinds, 'item')})",
            remedy="add the items; do both files write ids alike (leading zeros)?"
            if count == len(log)
            else f"add the items, or --set {option}.unknown_items=drop",
        )
    return log[~strange], [
        f"Dropped: {counted(count, 'interaction')} with {counted(kinds, 'item')} that the items file lacks."
    ]
