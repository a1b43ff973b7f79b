"""Rows that count as taken: a filter in SQL, and columns of feedback that no option names."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.datasets.files.columns import NUMBER
from protocols.datasets.files.tables import Table
from protocols.errors import DataError, UserError
from protocols.wording import counted

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

# Columns that say if, or how much, somebody liked what they were shown.
FEEDBACK = re.compile(
    r"(is_)?(click(ed)?|like(d)?|dislike(d)?|hate|favou?rite|purchase(d)?|share(d)?|bookmark(ed)?|long_view|"
    r"skip(ped)?|finish(ed)?|complet(ed|ion))|rating|stars|score|overall|label|feedback|"
    r"(watch|play)(ed)?_?(ratio|time|time_ms|duration|ratio_pct)|played_ratio_pct|timespent|event(_type)?"
)
# Columns that hold amounts: the example of a filter has a threshold.
AMOUNT = {"rating": 4, "stars": 4, "overall": 4, "score": 4, "watch_ratio": 0.5, "play_ratio": 0.5}


def columns_of(where: str, option: str) -> list[str]:
    """Return the columns that a filter reads.

    Parameters
    ----------
    where
        A condition in SQL (polars' dialect), such as `rating >= 4`.
    option
        Option it was given by, for errors.

    Raises
    ------
    UserError
        If it cannot be read, or names no column.
    """
    names = _condition(where, option).meta.root_names()
    if not names:
        raise UserError(f"{option}: {where!r} names no column", remedy=f'{option}="rating >= 4", for example')
    return list(dict.fromkeys(names))


def _condition(where: str, option: str) -> pl.Expr:
    import polars as pl
    from polars.exceptions import PolarsError

    if re.search(r"\bselect\b", where, re.IGNORECASE):
        raise UserError(f"{option}: {where!r} is a query", remedy="only a condition on the log's own columns is read")
    try:
        return pl.sql_expr(where)
    except PolarsError as error:
        raise UserError(f"{option}: {where!r} is no condition: {error}", remedy='for example "rating >= 4"') from error


def taken(table: Table, where: str, option: str) -> Table:
    """Keep the rows for which a condition holds; where it cannot be decided (an empty cell) a row is not taken.

    Text columns whose cells are all numbers are compared as numbers, true and false as Booleans.

    Raises
    ------
    UserError
        If the condition is none of these columns, or gives no truth value for each row.
    DataError
        If no row is left.
    """
    import polars as pl
    from polars.exceptions import PolarsError

    names = columns_of(where, option)
    remedy = "columns with spaces or digits first stand in double quotes"
    frame = pl.DataFrame({name: typed(table.column(name, remedy)) for name in names})
    try:
        found = frame.select(_condition(where, option).alias("taken"))["taken"]
    except PolarsError as error:
        kinds = ", ".join(f"{name} {kind}" for name, kind in frame.schema.items())
        first = str(error).splitlines()[0]
        raise UserError(f"{option}: {where!r} does not fit the columns ({kinds}): {first}") from error
    if found.dtype != pl.Boolean or len(found) != len(table):
        raise UserError(
            f"{option}: {where!r} gives no truth value for each row", remedy=f'a comparison: "{names[0]} >= 1"'
        )
    mask = found.fill_null(False).to_numpy()
    if not mask.any():
        raise DataError(
            f"{table.path}: {where!r} holds for none of {counted(len(table), 'row')}", remedy="look at the values"
        )
    return table.take(np.asarray(mask))


def typed(cells: pa.ChunkedArray) -> Any:
    """Turn text cells into a polars series of whole numbers, numbers or Booleans where all cells are such."""
    import polars as pl

    text = pl.Series(pl.from_arrow(cells.combine_chunks())).str.strip_chars()
    text = pl.select(pl.when(text == "").then(None).otherwise(text)).to_series()
    known = text.drop_nulls()
    if not len(known):
        return text
    if known.str.contains(r"^-?\d{1,18}$").all():
        return text.cast(pl.Int64)
    if known.str.contains(NUMBER).all():
        return text.cast(pl.Float64)
    if known.str.to_lowercase().is_in(["true", "false"]).all():
        return text.str.to_lowercase() == "true"
    return text


def unused_feedback(names: Collection[str], used: Collection[str], option: str) -> str:
    """Name the columns that look like feedback and are not used, in a line; "": there are none."""
    found = [name for name in names if name not in used and FEEDBACK.fullmatch(name.lower())]
    if not found:
        return ""
    first = found[0]
    least = AMOUNT.get(first.lower())
    example = f"{first} == 1" if least is None else f"{first} >= {least}"
    return (
        f"not used: {', '.join(found)}; every row counts as taken, whatever they say. "
        f'To take some rows only: --set {option}.where="{example}"'
    )
