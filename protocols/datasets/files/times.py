"""Times of a text column as milliseconds UTC: epoch in s, ms, us, ns, or dates; the unit is told from the values."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from protocols.datasets.files.columns import NUMBER, first_true, refuse, short
from protocols.datasets.files.tables import Table
from protocols.errors import DataError
from protocols.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

TimeUnit = Literal["auto", "s", "ms", "us", "ns", "iso"]
# Milliseconds in one of each unit.
UNITS: dict[str, float] = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
# 1980-01-01: a log from before is a wrong unit, or its times are no times of day.
EARLIEST = 315_532_800_000
DAY = 86_400_000
# Beyond +-292 years of 1970 pandas has no calendar.
NO_CALENDAR = 9_200_000_000_000
INTEGER = r"^[+-]?\d{1,19}$"
DECIMAL = r"^\+?(\d*)\.?(\d*)$"
ZONE = r"([zZ]|[+-]\d\d(:?\d\d)?)$"
# 31/05/2024 and 2024/05/31, with a slash, a dot or a hyphen
NUMERIC_DATE = r"^(?P<a>\d{1,2})[/.-](?P<b>\d{1,2})[/.-](?P<year>\d{4})(?P<rest>[ T,].*)?$"
YEAR_FIRST = r"^(\d{4})[/.](\d\d)[/.](\d\d)"


@dataclass(frozen=True)
class TimeFormat:
    """Notation of the times of a column.

    Attributes
    ----------
    unit
        Of the numbers; `iso`: dates, such as 2024-05-31T12:00:00.250+02:00, UTC where no zone is given; `auto`: told
        from the values.
    option
        Plug-in whose options a remedy names.
    name
        Option of that plug-in for the unit.
    checked
        Refuse times before 1980 or after tomorrow: a wrong unit, or a single slip that would move every window.
    day_first
        Of dates such as 31/05/2024; None: they are refused.
    empty
        True: an empty cell is an unknown time; False: it is refused.
    otherwise
        The unit where `auto` cannot tell one; "": that is an error.
    rounded
        Decimals beyond a millisecond are rounded in numbers; False: cut off, as they are in dates.
    """

    unit: TimeUnit
    option: str
    name: str = "time_unit"
    checked: bool = True
    day_first: bool | None = None
    empty: bool = False
    otherwise: str = ""
    rounded: bool = True

    def remedy(self, unit: str) -> str:
        """Write the words that set the unit."""
        return f"--set {self.option}.{self.name}={unit}"


def times(table: Table, column: str, form: TimeFormat) -> np.ndarray:
    """Return the times of a column; a unit that was told from the values is noted in the table.

    Returns
    -------
    np.ndarray
        int64 [N] milliseconds UTC; float64 with NaN where empty cells are allowed and there are some.

    Raises
    ------
    DataError
        If a cell is no time, or not a plausible one; a unit that would make it plausible is named, and so are columns
        that mix units.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table.require(column)
    cells = table.cells[column]
    if pa.types.is_integer(cells.type) and not cells.null_count and form.unit != "iso":
        return _whole(table, column, cells.cast("int64").to_numpy(), form)
    cells = pc.utf8_trim_whitespace(table.column(column))
    absent = np.asarray(pc.equal(cells, ""))
    if not (form.empty and absent.any()):
        return _filled(table, column, cells, form)
    found = np.full(len(table), np.nan)
    if not absent.all():
        known = ~absent
        found[known] = _filled(table.take(known), column, cells.filter(pa.array(known)), form)
    return found


def _whole(table: Table, column: str, values: np.ndarray, form: TimeFormat) -> np.ndarray:
    """Times of a column that holds whole numbers and no empty cell: they need not become text first."""
    numbers = values.astype(np.float64)
    unit = _told(table, column, numbers, form) if form.unit == "auto" else form.unit
    _check_range(table, column, numbers, unit, form)
    return _noted(table, column, _scaled(values, unit), unit, form)


def _filled(table: Table, column: str, cells: pa.ChunkedArray, form: TimeFormat) -> np.ndarray:
    import pyarrow.compute as pc

    numeric = pc.match_substring_regex(cells, NUMBER)
    unit: str = form.unit
    if unit == "auto":
        unit = "iso" if not pc.all(numeric).as_py() else _told(table, column, pc.cast(cells, "double").to_numpy(), form)
    if unit == "iso":
        found = _dates(table, column, cells, numeric, form)
        _check_range(table, column, found.astype(np.float64), "iso", form)
    else:
        remedy = form.remedy("iso") if _looks_iso(cells) else "every row needs a time"
        refuse(table, column, pc.invert(numeric), "is no number", remedy)
        _check_range(table, column, pc.cast(cells, "double").to_numpy(), unit, form)
        found = _milliseconds(cells, unit, form.rounded)
    return _noted(table, column, found, unit, form)


def _noted(table: Table, column: str, found: np.ndarray, unit: str, form: TimeFormat) -> np.ndarray:
    """Note the unit of times in the table where it was told from the values."""
    if form.unit == "auto":
        what = "dates" if unit == "iso" else f"times in {unit}"
        span = " to ".join(_when(float(ms)) for ms in (found.min(), found.max()))
        table.notes.append(f"{column}: {what}, {span} (another reading: {form.remedy('UNIT')})")
    return found


def _told(table: Table, column: str, values: np.ndarray, form: TimeFormat) -> str:
    """Tell the unit of numbers: between 1980 and tomorrow a number is a time in one unit at most."""
    latest = time.time() * 1000 + DAY
    fits = {unit: (values * ms >= EARLIEST) & (values * ms <= latest) for unit, ms in UNITS.items()}
    counts = {unit: int(mask.sum()) for unit, mask in fits.items() if mask.any()}
    if len(counts) > 1:
        rare = min(counts, key=counts.__getitem__)
        listed = ", ".join(f"{count} in {unit}" for unit, count in counts.items())
        row = first_true(fits[rare])
        raise table.error(
            row,
            f"{column} mixes units: {short(table.column(column)[row].as_py())} looks like {rare}; "
            f"of {counted(len(values), 'row')} {listed}",
            remedy="write all rows in one unit",
        )
    if not counts and form.otherwise:
        return form.otherwise
    if not counts and (form.checked is False or not len(values)):
        raise table.error(
            0, f"the unit of {column} cannot be told from its values", remedy=form.remedy("s, ms, us or ns")
        )
    # a single slip among good rows is found when the range is checked
    return next(iter(counts), "ms")


def _milliseconds(cells: pa.ChunkedArray, unit: str, rounded: bool) -> np.ndarray:
    import pyarrow.compute as pc

    if pc.all(pc.match_substring_regex(cells, INTEGER)).as_py():
        whole = pc.cast(pc.replace_substring_regex(cells, r"^\+", ""), "int64").to_numpy()
        return _scaled(whole, unit)
    if not rounded and pc.all(pc.match_substring_regex(cells, DECIMAL)).as_py():
        return _cut(cells, unit)
    values = pc.cast(cells, "double").to_numpy() * UNITS[unit]
    # the nearest float64 may lie just below a whole millisecond
    return (np.round(values) if rounded else np.floor(np.round(values, 3))).astype(np.int64)


def _scaled(whole: np.ndarray, unit: str) -> np.ndarray:
    """Whole numbers of a unit in milliseconds, cut off."""
    return whole // round(1 / UNITS[unit]) if UNITS[unit] < 1 else whole * int(UNITS[unit])


def _cut(cells: pa.ChunkedArray, unit: str) -> np.ndarray:
    """Decimals as they are written, cut off beyond a millisecond: float64 cannot hold nine of them."""
    import pyarrow.compute as pc

    whole = pc.cast(pc.replace_substring_regex(cells, DECIMAL, r"0\1"), "int64").to_numpy()
    if UNITS[unit] <= 1:
        return whole // round(1 / UNITS[unit])
    decimals = pc.replace_substring_regex(cells, DECIMAL, r"\2000")
    return whole * 1000 + pc.cast(pc.utf8_slice_codeunits(decimals, 0, 3), "int64").to_numpy()


def _check_range(table: Table, column: str, values: np.ndarray, unit: str, form: TimeFormat) -> None:
    ms = values * UNITS.get(unit, 1.0)
    latest = time.time() * 1000 + DAY
    wrong = np.abs(ms) > NO_CALENDAR
    if form.checked:
        wrong |= (ms < EARLIEST) | (ms > latest)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    written = short(table.column(column)[row].as_py())
    count = f" ({int(wrong.sum())} of {counted(len(wrong), 'row')})" if wrong.sum() > 1 else ""
    fits = [u for u, factor in UNITS.items() if unit != "iso" and EARLIEST <= values[row] * factor <= latest]
    if fits:
        message = f"{column} {written} is {_when(ms[row])} in {unit}; it looks like {fits[0]}{count}"
        raise table.error(row, message, remedy=form.remedy(fits[0]))
    side = "negative" if ms[row] < 0 else ("before 1980" if ms[row] < EARLIEST else "in the future")
    message = f"{column} {written} is {_when(ms[row])}: {side}{count}"
    remedy = f"correct the row; if these are no times of day, --set {form.option}.check_times=false"
    if abs(ms[row]) > NO_CALENDAR:
        remedy = "correct the row: no calendar holds it"
    raise table.error(row, message, remedy)


def _dates(table: Table, column: str, cells: pa.ChunkedArray, numeric: pa.ChunkedArray, form: TimeFormat) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if form.unit == "auto" and pc.any(numeric).as_py():
        what = "is a date, other rows are numbers" if _looks_iso(cells) else "is no number"
        refuse(table, column, pc.invert(numeric), what, "write all alike")
    remedy = form.remedy("ms (or s, us, ns)")
    refuse(table, column, numeric, "is a number, not a date", remedy)
    cells = _year_first(table, column, cells, form)
    zoned = pc.match_substring_regex(cells, r":\d\d(\.\d+)?\s?" + ZONE)
    if pc.any(zoned).as_py():
        refuse(table, column, pc.invert(zoned), "has no zone, other rows have one", "write all times in UTC")
    zone = "UTC" if pc.any(zoned).as_py() else None
    fine = pc.any(pc.match_substring_regex(cells, r"\.\d{7,9}(\D|$)")).as_py()
    try:
        found = pc.cast(pc.cast(cells, pa.timestamp("ns" if fine else "us", zone)), "int64").to_numpy()
        return found // (1_000_000 if fine else 1000)
    except pa.ArrowInvalid:
        for row, cell in enumerate(cells.to_pylist()):
            try:
                datetime.fromisoformat(cell)
            except ValueError:
                written = short(table.column(column)[row].as_py())
                raise table.error(
                    row, f"{column} {written} is no ISO 8601 time", remedy="for example 2024-05-31T12:00:00Z"
                ) from None
        raise DataError(f"{table.path}: column {column} holds times in several spellings", "write all alike") from None


def _year_first(table: Table, column: str, cells: pa.ChunkedArray, form: TimeFormat) -> pa.ChunkedArray:
    """Write 31/05/2024 10:00 as 2024-05-31 10:00, where an option says that the day is first or second."""
    import pyarrow.compute as pc

    cells = pc.replace_substring_regex(cells, YEAR_FIRST, r"\1-\2-\3")
    parts = pc.extract_regex(cells, NUMERIC_DATE)
    such = pc.is_valid(parts)
    if not pc.any(such).as_py():
        return cells
    option = f"{form.option}.day_first"
    if form.day_first is None:
        remedy = f"--set {option}=true if 31/05/2024 is 31 May, --set {option}=false if it is 05/31/2024"
        refuse(table, column, such, "is a date of two readings", remedy)
    a, b, year, rest = (pc.struct_field(parts, name) for name in ("a", "b", "year", "rest"))
    day, month = (a, b) if form.day_first else (b, a)
    written = pc.binary_join_element_wise(year, pc.utf8_lpad(month, 2, "0"), pc.utf8_lpad(day, 2, "0"), "-")
    clock = pc.replace_substring_regex(pc.replace_substring_regex(rest, r"^[,T ]\s*", " "), r"^ (\d:)", r" 0\1")
    return pc.if_else(such, pc.binary_join_element_wise(written, clock, ""), cells)


def _looks_iso(cells: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(cells, r"^\d{4}-\d\d-\d\d")).as_py())


def _when(ms: float) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return f"the year {1970 + ms / 31_556_952_000:.0f}"
