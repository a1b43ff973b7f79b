"""Boards as CSV: one table for all of them, whose first columns name the board."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.boards.leaderboard import Board
from bench.boards.rows import COSTS, EXPENSES, BoardRow
from bench.tables.layout import View, lay_out, ordered


def csv_text(boards: Sequence[Board], view: View) -> str:
    """Write boards as one CSV, every number in full; a pivot, or chosen columns, as they are shown."""
    if view.pivot or view.columns:
        return one_csv(line for board in boards for line in _shown(board, view))
    return one_csv(
        _line(board, rank, row)
        for board in boards
        for rank, row in [*ordered(board, view), *((None, row) for row in board.unranked)]
    )


def one_csv(rows: Iterable[Mapping[str, Any]], heads: Sequence[str] = ()) -> str:
    """Write rows under the columns of all of them, or `heads` if there are none; empty where a row has no value."""
    lines = [{harmless(name): harmless(value) for name, value in row.items()} for row in rows]
    names = dict.fromkeys([name for line in lines for name in line] or heads)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def harmless(value: Any) -> Any:
    """Keep spreadsheets from running a name as a formula; what is no text stays as it is."""
    formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value != "-"
    return f"'{value}" if formula else value


def _board(board: Board) -> dict[str, Any]:
    """Name a board."""
    return {
        "table": board.id,
        "board": board.fingerprint,
        "dataset": board.facts["dataset"],
        "simulated": board.simulated,
        "protocol": board.facts["protocol"],
    }


def _shown(board: Board, view: View) -> Iterator[dict[str, Any]]:
    table = lay_out(board, view)
    for row in table.body:
        yield _board(board) | dict(zip(table.head, (cell.text for cell in row), strict=True))


def _line(board: Board, rank: int | None, row: BoardRow) -> dict[str, Any]:
    """Write a row with all its numbers; empty where there is none."""
    line: dict[str, Any] = _board(board) | {
        "metric": board.metric,
        "rank": rank,
        "rank_low": min(row.rank_interval, default=None),
        "rank_high": max(row.rank_interval, default=None),
        "tied_with_best": row.tied,
        "model": row.model,
        "extractor": row.extractor,
        "fusion": row.fusion,
        "checkpoints": row.checkpoints,
        "seeds": len(row.seeds),
    }
    for metric in board.metrics:
        parts: dict[str, Mapping[str, float | None]] = {
            "": row.mean,
            "_low": row.low,
            "_high": row.high,
            "_seed_sd": row.seed_sd,
        }
        line |= {metric + ending: part.get(metric) for ending, part in parts.items()}
    line["baseline"] = board.baseline
    deltas = {"diff": row.delta_vs_baseline, "diff_own_id": row.delta_vs_id, "diff_twin": row.delta_vs_shuffled}
    for name, difference in deltas.items():
        line |= {f"{name}_{key}": (difference or {}).get(key) for key in ("value", "low", "high", "p")}
    line["p_holm"] = (row.delta_vs_baseline or {}).get("p_holm")
    cold = [f"cold_among_cold{ending}" for ending in ("", "_low", "_high", "_users")]
    line |= {f"{board.metric}_{part}": row.slices.get(part) for part in ("warm", "cold", *cold)}
    line |= {"coverage": row.coverage, "degenerate": row.degenerate}
    spent = {**COSTS, **EXPENSES}
    line |= {name.replace(" ", "_").replace("/", "_per_"): row.costs.get(cost) for cost, name in spent.items()}
    return line | {"not_ranked_because": row.reason}
