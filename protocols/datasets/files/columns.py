"""Parsing of text columns into ids, numbers and times; errors name file, line and remedy."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from protocols.datasets.files.text_tables import TextTable
from protocols.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

TimeUnit = Literal["ms", "s", "us", "iso"]
# Milliseconds in one of each unit.
UNITS: dict[str, float] = {"s": 1000.0, "ms": 1.0, "us": 0.001}
# 1980-01-01: a log from before is a wrong unit, or its times are no times of day.
EARLIEST = 315_532_800_000
DAY = 86_400_000
# Beyond +-292 years of 1970 pandas has no calendar.
NO_CALENDAR = 9_200_000_000_000
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
INTEGER = r"^[+-]?\d{1,18}$"
ZONE = r"([zZ]|[+-]\d\d(:?\d\d)?)$"


def ids(table: TextTable, column: str, remedy: str = "") -> np.ndarray:
    """Return raw ids unchanged, with spaces, leading zeros and slashes.

    Returns
    -------
    np.ndarray
        [N] of str objects; equal ids share one object.

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
            row = _first(pc.is_in(cells, value_set=bad))
            value = cells[row].as_py()
            raise table.error(row, f"{column} {_short(value)} {what}", remedy="every row needs a clean id")
    names = np.asarray(words.to_numpy(zero_copy_only=False), dtype=object)
    return names[encoded.indices.to_numpy()]


def texts(table: TextTable, column: str) -> np.ndarray:
    """Return [N] of str, None where a cell is empty."""
    found = table.column(column).to_numpy().astype(object)
    found[found == ""] = None
    return found


def numbers(table: TextTable, column: str, least: float = 0.0) -> np.ndarray:
    """Return float64 [N], NaN where a cell is empty.

    Raises
    ------
    DataError
        If a cell is no number, or below `least`.
    """
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(table.column(column))
    absent = pc.equal(cells, "")
    _refuse(table, column, pc.invert(pc.or_(absent, pc.match_substring_regex(cells, NUMBER))), "is no number")
    values = pc.cast(pc.if_else(absent, "nan", cells), "double").to_numpy()
    _refuse(table, column, values < least, f"is below {least:g}")
    return values


def times(table: TextTable, column: str, unit: TimeUnit, option: str, checked: bool = True) -> np.ndarray:
    """Return int64 [N] milliseconds UTC.

    Parameters
    ----------
    table, column
        The cells.
    unit
        Of the numbers in them; `iso`: text such as 2024-05-31T12:00:00.250+02:00, UTC where no zone is given.
    option
        Plug-in whose options `time_unit` and `check_times` a remedy names.
    checked
        Refuse times before 1980 or after tomorrow: a wrong unit, or a single slip that would move every window.

    Raises
    ------
    DataError
        If a cell is no time, or not a plausible one; a unit that would make it plausible is named.
    """
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(table.column(column))
    if unit == "iso":
        found = _iso(table, column, cells, option)
        _check_range(table, column, found.astype(np.float64), None, option, checked)
        return found
    remedy = f"--set {option}.time_unit=iso" if _looks_iso(cells) else "every row needs a time"
    _refuse(table, column, pc.invert(pc.match_substring_regex(cells, NUMBER)), "is no number", remedy)
    values = pc.cast(cells, "double").to_numpy()
    _check_range(table, column, values, unit, option, checked)
    if pc.all(pc.match_substring_regex(cells, INTEGER)).as_py():
        whole = pc.cast(pc.replace_substring_regex(cells, r"^\+", ""), "int64").to_numpy()
        return whole // 1000 if unit == "us" else whole * int(UNITS[unit])
    return np.round(values * UNITS[unit]).astype(np.int64)


def _check_range(
    table: TextTable, column: str, values: np.ndarray, unit: str | None, option: str, checked: bool
) -> None:
    ms = values * UNITS[unit] if unit else values
    latest = time.time() * 1000 + DAY
    wrong = np.abs(ms) > NO_CALENDAR
    if checked:
        wrong |= (ms < EARLIEST) | (ms > latest)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    written = _short(table.column(column)[row].as_py())
    count = f" ({int(wrong.sum())} of {len(wrong)} rows)" if wrong.sum() > 1 else ""
    fits = [u for u, factor in UNITS.items() if unit and EARLIEST <= values[row] * factor <= latest]
    if fits:
        message = f"{column} {written} is {_when(ms[row])} in {unit}; it looks like {fits[0]}{count}"
        raise table.error(row, message, remedy=f"--set {option}.time_unit={fits[0]}")
    side = "negative" if ms[row] < 0 else ("before 1980" if ms[row] < EARLIEST else "in the future")
    message = f"{column} {written} is {_when(ms[row])}: {side}{count}"
    remedy = f"correct the row; if these are no times of day, --set {option}.check_times=false"
    if abs(ms[row]) > NO_CALENDAR:
        remedy = "correct the row: no calendar holds it"
    raise table.error(row, message, remedy)


def _iso(table: TextTable, column: str, cells: pa.ChunkedArray, option: str) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    numeric = pc.match_substring_regex(cells, NUMBER)
    _refuse(table, column, numeric, "is a number, not a date", f"--set {option}.time_unit=ms (or s, us)")
    zoned = pc.match_substring_regex(cells, r":\d\d(\.\d+)?\s?" + ZONE)
    if pc.any(zoned).as_py():
        _refuse(table, column, pc.invert(zoned), "has no zone, other rows have one", "write all times in UTC")
    try:
        kind = pa.timestamp("us", "UTC" if pc.any(zoned).as_py() else None)
        return pc.cast(pc.cast(cells, kind), "int64").to_numpy() // 1000
    except pa.ArrowInvalid:
        for row, cell in enumerate(cells.to_pylist()):
            try:
                datetime.fromisoformat(cell)
            except ValueError:
                raise table.error(
                    row, f"{column} {_short(cell)} is no ISO 8601 time", remedy="for example 2024-05-31T12:00:00Z"
                ) from None
        raise DataError(f"{table.path}: column {column} holds times in several spellings", "write all alike") from None


def _looks_iso(cells: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(cells, r"^\d{4}-\d\d-\d\d")).as_py())


def _refuse(table: TextTable, column: str, wrong: object, what: str, remedy: str = "correct the row") -> None:
    row = _first(wrong)
    if row >= 0:
        raise table.error(row, f"{column} {_short(table.column(column)[row].as_py())} {what}", remedy)


def _first(mask: object) -> int:
    """Position of the first True; -1: none."""
    import pyarrow.compute as pc

    if isinstance(mask, np.ndarray):
        return int(mask.argmax()) if mask.any() else -1
    return pc.index(mask, True).as_py()


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _when(ms: float) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return f"the year {1970 + ms / 31_556_952_000:.0f}"
