"""Verdicts of a board in sentences: the value of content, beside its shuffled control and beside ids alone."""

from __future__ import annotations

from bench.boards.leaderboard import BASELINE, Board
from bench.boards.rows import CEILING, BoardRow
from bench.tables.numbers import metric_name, rank_range
from protocols.evaluation.statistics import MIN_SEEDS
from protocols.wording import counted

#: First parts of the names of extractors that are no claim about content.
CONTROLS = ("-", BASELINE, "random", "shuffled", "mean", "truth")
_CONCLUSIONS = {
    ("above", "above"): "the content adds to ids",
    ("above", "holds"): "the content is used, and no gain over ids is shown",
    ("above", "below"): "the content is used, and ids alone are better",
    ("holds", "above"): "the gain over ids is not shown to be of the content: wrong items' vectors may give it too",
    ("holds", "holds"): "no difference is shown",
    ("holds", "below"): "no use of the content can be seen, and ids alone are better",
    ("below", "above"): "wrong items' vectors do better: the gain over ids is not of the content",
    ("below", "holds"): "wrong items' vectors do better",
    ("below", "below"): "wrong items' vectors and ids alone both do better",
}


def is_control(row: BoardRow) -> bool:
    """Return True for controls, ceilings and models without features."""
    return row.extractor.partition(":")[0] in CONTROLS


def minus_id(board: Board, row: BoardRow) -> dict[str, float] | None:
    """Return the difference of a row to its model without features; None where there is no such row."""
    own = f"{row.model} {BASELINE} {BASELINE}"
    return row.delta_vs_baseline if board.baseline == own else row.delta_vs_id


def side(difference: dict[str, float]) -> str:
    """Say where the interval of a difference lies: `above` 0, `below`, or `holds` it."""
    return "above" if difference["low"] > 0 else "below" if difference["high"] < 0 else "holds"


def interval(difference: dict[str, float]) -> str:
    """Write a difference with its interval as papers do: `+.0070 [+.0034, +.0105]`."""
    return f"{_bare(difference['value'])} [{_bare(difference['low'])}, {_bare(difference['high'])}]"


def _bare(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)


def seeds_of(board: Board) -> str:
    """Say how far numbers of a board reach: its seeds, and with fewer than five that they are for these only."""
    count = len(board.facts["seeds"])
    if not board.these_seeds_only:
        return counted(count, "seed") if count else "no seeds"
    return f"{counted(count, 'seed')}: these seeds only"


def claim(board: Board, row: BoardRow) -> str:
    """Write the value of the content of a row: against its shuffled control and its model's ids, and what follows."""
    metric, about = metric_name(board.metric), f"{row.model} with {row.extractor} ({row.fusion})"
    shuffled, ids = row.delta_vs_shuffled, minus_id(board, row)
    parts = [f"{interval(shuffled)} {metric} over the same vectors on wrong items"] if shuffled else []
    parts += [f"{interval(ids)} {'' if parts else metric + ' '}over ids alone"] if ids else []
    if not parts:
        return f"{about}: neither a shuffled control nor a row of ids beside it, so nothing follows for its content."
    if shuffled and ids:
        conclusion = _CONCLUSIONS[side(shuffled), side(ids)]
    elif shuffled:
        conclusion = "the model has no row of ids"
    else:
        conclusion = "without a shuffled control nothing follows for the content"
    return f"{about}: {' and '.join(parts)}; {conclusion} ({seeds_of(board)})."


def is_ceiling(row: BoardRow) -> bool:
    """Return True for the oracle and for features that the simulator wrote down: no competitors of others."""
    return row.model == CEILING or row.extractor == "truth"


def best(board: Board) -> str:
    """Write which row is the best, how sure its rank is, and how far the ceilings lie."""
    rows = [row for row in board.rows if not is_ceiling(row)]
    if not rows:
        return "No ranked rows."
    row = rows[0]
    mean, low, high = (f"{part[board.metric]:.4f}" for part in (row.mean, row.low, row.high))
    text = f"Best of {counted(len(rows), 'row')}: {row.label}, {metric_name(board.metric)} {mean} [{low}, {high}]"
    text += f", ranks {rank_range(row)}" if row.rank_interval else ""
    tied = sum(one.tied is True for one in rows) - 1 if row is board.best else 0
    text += f", not told apart from {counted(tied, 'other row')}" if tied > 0 else ""
    above = [f"{one.label} {one.mean[board.metric]:.4f}" for one in board.rows if is_ceiling(one)]
    return text + (f"; ceiling{'s' * (len(above) > 1)}: {', '.join(above)}." if above else ".")


def main_row(board: Board) -> BoardRow | None:
    """Choose the row that a board is asked about: the best with content beside its control, else with content."""
    rows = [row for row in board.rows if not is_control(row)]
    return next((row for row in rows if row.delta_vs_shuffled), rows[0] if rows else None)


def verdict(board: Board, row: BoardRow | None = None) -> list[str]:
    """Write one or two sentences on a board, or on one of its rows; with few seeds also what cannot be said."""
    row = row or main_row(board)
    found = [best(board)] if row is None else [claim(board, row)]
    if 0 < len(board.facts["seeds"]) < MIN_SEEDS:
        unsaid = "another seed may move rows further" if len(board.facts["seeds"]) > 1 else "how far another seed moves"
        unsaid += "" if len(board.facts["seeds"]) > 1 else " a row is unknown"
        found.append(f"Nothing is called significant: {unsaid}; --seeds {MIN_SEEDS} tells.")
    return found


def counts(board: Board) -> list[str]:
    """Count the rows whose content counts against its shuffled control, and against ids, extractor by extractor.

    Extractors with one such row are counted together.
    """
    groups: dict[str, list[BoardRow]] = {}
    for row in board.rows:
        if row.delta_vs_shuffled and not is_control(row):
            groups.setdefault(row.extractor, []).append(row)
    single = [rows[0] for rows in groups.values() if len(rows) == 1]
    named = {name: rows for name, rows in groups.items() if len(rows) > 1 or len(single) == 1}
    if len(single) > 1:
        named[f"{len(single)} extractors with one row each ({', '.join(row.extractor for row in single)})"] = single
    found = []
    for name, rows in named.items():
        used = {id(row) for row in rows if row.delta_vs_shuffled and side(row.delta_vs_shuffled) == "above"}
        gains = {id(row) for row in rows if (ids := minus_id(board, row)) and side(ids) == "above"}
        found.append(
            f"{name}: interval above the shuffled control in {len(used)} of {counted(len(rows), 'row')}, above "
            f"ids alone in {len(gains)}, above both in {len(used & gains)} ({seeds_of(board)})."
        )
    return found
