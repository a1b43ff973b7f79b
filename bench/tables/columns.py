"""Columns of a board by name: the few that a terminal or a page shows, and all others that can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.boards.leaderboard import Board
from bench.boards.rows import AMONG_COLD, CEILING, COSTS, EXPENSES, BoardRow
from bench.tables.numbers import NONE, UNKNOWN, metric_name, p_value, rank_range, short
from bench.tables.verdicts import interval, minus_id
from protocols.errors import did_you_mean

Value = Callable[[Board, BoardRow], str]
Span = tuple[float, float, float]
#: Shown where nothing else is asked for.
USUAL = ("row", "score", "ranks", "minus-id", "minus-shuffled", "cold-among-cold", "notes")
#: Names that stand for several columns.
GROUPS = {"cost": ("row", "score", *EXPENSES, "parameters", "bytes")}


def _of(metric: str, row: BoardRow) -> Span:
    return row.mean[metric], row.low[metric], row.high[metric]


def _difference(found: dict[str, float] | None) -> Span | None:
    return None if found is None else (found["value"], found["low"], found["high"])


def _among_cold(board: Board, row: BoardRow) -> Span | None:
    value, low, high = (row.slices.get(AMONG_COLD + ending) for ending in ("", "_low", "_high"))
    return None if value is None or low is None or high is None else (value, low, high)


#: Columns of values with 95% intervals: value, lower and upper end; None where a row has none.
SPANS: dict[str, Callable[[Board, BoardRow], Span | None]] = {
    "score": lambda board, row: _of(board.metric, row),
    "hr": lambda board, row: _of("hr@10", row),
    "minus-id": lambda board, row: _difference(minus_id(board, row)),
    "minus-shuffled": lambda board, row: _difference(row.delta_vs_shuffled),
    "minus-baseline": lambda board, row: _difference(row.delta_vs_baseline),
    "cold-among-cold": _among_cold,
}
#: Those of differences.
SIGNED = ("minus-id", "minus-shuffled", "minus-baseline")


def _spanned(name: str) -> Value:
    """Make a column of values with their intervals in brackets."""

    def write(board: Board, row: BoardRow) -> str:
        span = SPANS[name](board, row)
        if span is None:
            return NONE
        if name in SIGNED:
            return interval(dict(zip(("value", "low", "high"), span, strict=True)))
        value, low, high = (f"{number:.{3 if name == 'cold-among-cold' else 4}f}" for number in span)
        return f"{value} [{low}, {high}]"

    return write


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _cost(name: str) -> Value:
    return lambda board, row: NONE if row.costs.get(name) is None else short(row.costs[name])


def notes(board: Board, row: BoardRow) -> str:
    """Write the marks of a row: ceiling, tied with the best, doubtful fits, degenerate features, ties, pocket."""
    found = ["ceiling"] if row.model == CEILING else []
    found += ["= best"] if row.tied and row is not board.best else []
    found += ["*"] if row.significant else []
    found += [f"fits {row.doubts[0]}/{row.doubts[1]}"] if row.doubts[0] else []
    found += ["degenerate"] if row.degenerate else []
    found += [f"ties {row.tie_share:.0%}"] if row.tie_share > 0.01 else []
    return ", ".join(found)


#: What the marks of `notes` say.
LEGEND = {
    "= best": "not told apart from the best row (Holm)",
    "*": "differs from the baseline at the 5% level (Holm)",
    "fits": "training may have missed the optimum in that many fits",
    "degenerate": "features hardly tell items apart",
    "ties": "top tens decided by the tie-break",
}

#: Columns of words.
WORDS = ("row", "model", "extractor", "fusion")
COLUMNS: dict[str, Value] = {
    "row": lambda board, row: row.label,
    "score": _spanned("score"),
    "ranks": lambda board, row: rank_range(row),
    "minus-id": _spanned("minus-id"),
    "minus-shuffled": _spanned("minus-shuffled"),
    "cold-among-cold": _spanned("cold-among-cold"),
    "notes": notes,
    "model": lambda board, row: row.model,
    "extractor": lambda board, row: row.extractor,
    "fusion": lambda board, row: row.fusion,
    "hr": _spanned("hr"),
    "minus-baseline": _spanned("minus-baseline"),
    "p": lambda board, row: p_value((row.delta_vs_baseline or {}).get("p_holm")),
    "seed-sd": lambda board, row: _number(row.seed_sd.get(board.metric)),
    "warm": lambda board, row: _number(row.slices.get("warm")),
    "cold": lambda board, row: _number(row.slices.get("cold")),
    "covered": lambda board, row: NONE if row.coverage is None else f"{row.coverage:.0%}",
    **{name: _cost(name) for name in (*COSTS, *EXPENSES)},
    "checkpoints": lambda board, row: row.checkpoints or NONE,
    "cell": lambda board, row: row.cell or UNKNOWN,
}


def headings(board: Board, names: Sequence[str]) -> list[str]:
    """Write the heads of columns for people."""
    heads = {
        "score": f"{metric_name(board.metric)} [95%]",
        "hr": "HR@10 [95%]",
        "minus-id": "minus id",
        "minus-shuffled": "minus shuffled",
        "cold-among-cold": "cold among cold",
        "minus-baseline": f"minus {board.baseline}",
        "p": "p (Holm)",
        "seed-sd": "seed SD",
        **COSTS,
        **EXPENSES,
    }
    return [heads.get(name, name) for name in names]


def chosen(text: str) -> list[str]:
    """Read the names of columns and of `GROUPS` that a user gives, separated by commas.

    Raises
    ------
    UserError
        If there is none of that name (did you mean ...).
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    names = list(dict.fromkeys(name for word in given for name in GROUPS.get(word, (word,))))
    for name in names:
        if name not in COLUMNS:
            raise did_you_mean("column", name, [*COLUMNS, *GROUPS])
    return names or list(USUAL)


def used(board: Board, names: Sequence[str], rows: Sequence[BoardRow]) -> list[str]:
    """Leave out columns of the usual ones that hold nothing in any row."""
    return [name for name in names if any(COLUMNS[name](board, row) not in ("", NONE) for row in rows)]


def table(board: Board, names: Sequence[str], rows: Sequence[BoardRow]) -> tuple[list[str], list[list[str]]]:
    """Return heads and texts of some rows."""
    return headings(board, names), [[COLUMNS[name](board, row) for name in names] for row in rows]


def legend(board: Board, rows: Sequence[BoardRow]) -> str:
    """Say what the marks in the column of notes mean, those that occur."""
    said = " ".join(notes(board, row) for row in rows)
    return "; ".join(f"{mark}: {text}" for mark, text in LEGEND.items() if mark in said)
