"""Parsing of text columns into ids, texts and numbers; errors name file, line and remedy."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from protocols.datasets.files.tables import Table
from protocols.errors import DataError

DurationUnit = Literal["auto", "s", "ms"]
# Seconds: no column of videos has a median beyond.
LONGEST = 21_600
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def ids(table: Table, column: str, remedy: str = "") -> np.ndarray:
    """Return raw ids unchanged, with spaces, leading zeros and slashes: [N] of str objects; equal ids share one.

    Raises
    ------
    DataError
        As `coded_ids`.
    """
    codes, words = coded_ids(table, column, remedy)
    return words[codes]


def coded_ids(table: Table, column: str, remedy: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return raw ids as whole numbers, and what each number stands for.

    Returns
    -------
    tuple
        int32 [N], and [K] of str objects, all different.

    Raises
    ------
    DataError
        If a cell is empty, or holds control characters (a line break in an id is a broken quote).
    """
    import pyarrow.compute as pc

    cells = table.column(column, remedy)
    encoded = cells.combine_chunks().dictionary_encode()
    words = encoded.dictionary
    for pattern, what in ((r"^\s*$", "is empty"), (r"[\x00-\x1f\x7f]", "holds a control character or a line break")):
        bad = words.filter(pc.match_substring_regex(words, pattern))
        if len(bad):
            row = first_true(pc.is_in(cells, value_set=bad))
            value = cells[row].as_py()
            raise table.error(row, f"{column} {short(value)} {what}", remedy="every row needs a clean id")
    return encoded.indices.to_numpy(), np.asarray(words.to_numpy(zero_copy_only=False), dtype=object)


def texts(table: Table, column: str) -> np.ndarray:
    """Return [N] of str, None where a cell is empty."""
    found = table.column(column).to_numpy().astype(object)
    found[found == ""] = None
    return found


def numbers(table: Table, column: str, least: float = 0.0) -> np.ndarray:
    """Return float64 [N], NaN where a cell is empty.

    Raises
    ------
    DataError
        If a cell is no number, or below `least`.
    """
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(table.column(column))
    absent = pc.equal(cells, "")
    refuse(table, column, pc.invert(pc.or_(absent, pc.match_substring_regex(cells, NUMBER))), "is no number")
    values = pc.cast(pc.if_else(absent, "nan", cells), "double").to_numpy()
    refuse(table, column, values < least, f"is below {least:g}")
    return values


def durations(table: Table, column: str, unit: DurationUnit, option: str) -> np.ndarray:
    """Return seconds, float64 [N], NaN where a cell is empty; a unit that was told from the values is noted.

    Parameters
    ----------
    unit
        Of the numbers; `auto`: told from their median, `ms` above 6 hours, `s` below 1,000; between them a column is
        refused.
    option
        Plug-in whose option `duration_unit` a remedy names.

    Raises
    ------
    DataError
        As `numbers`, or if the unit cannot be told.
    """
    values = numbers(table, column)
    if unit == "auto" and np.isfinite(values).any():
        median = float(np.nanmedian(values))
        setting = f"--set {option}.duration_unit"
        if 1000 <= median <= LONGEST:
            raise DataError(
                f"{table.path}: the median of {column} is {median:g}: {median / 1000:.3g} s in ms, or "
                f"{median / 60:.3g} minutes in s",
                remedy=f"{setting}=ms, or {setting}=s",
            )
        unit = "ms" if median > LONGEST else "s"
        table.notes.append(f"{column}: durations in {unit}, median {median:g} (another reading: {setting}=UNIT)")
    return values / 1000 if unit == "ms" else values


def refuse(table: Table, column: str, wrong: object, what: str, remedy: str = "correct the row") -> None:
    """Raise the error for the first row of a mask, if there is one; `what` follows the column and its value."""
    row = first_true(wrong)
    if row >= 0:
        raise table.error(row, f"{column} {short(table.column(column)[row].as_py())} {what}", remedy)


def looks_like_number(text: str) -> bool:
    """Return True for a number as text: no name of a column."""
    return re.match(NUMBER, text.strip()) is not None


def first_true(mask: object) -> int:
    """Position of the first True; -1: none."""
    import pyarrow.compute as pc

    if isinstance(mask, np.ndarray):
        return int(mask.argmax()) if mask.any() else -1
    return pc.index(mask, True).as_py()


def short(value: str) -> str:
    """Quote a value, its end left out where it is long."""
    return repr(value if len(value) <= 60 else value[:57] + "...")
