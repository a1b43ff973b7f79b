"""Charts of a board, and the best first; every chart follows the filter of the table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from bench.boards.cell_results import CellResults
from bench.boards.leaderboard import PRIMARY, Board
from bench.boards.rows import CEILING, COSTS, EXPENSES, BoardRow
from bench.report import charts
from bench.report.charts import Chart, Content, point
from bench.report.text import names, printable
from bench.tables.verdicts import is_control, minus_id, side

METRIC = "nDCG@10"
WARM, COLD = 1, 4
#: Axes of cost against quality; costs that records hold beyond these have the name that tables give them.
_AXES = {
    "train": "training, seconds a seed",
    "extract": "extraction, seconds an item",
    "bytes": "stored bytes an item",
    "parameters": "trained parameters",
    "memory": "peak memory, MB",
    "train-wh": "energy of training, Wh a seed",
    "extract-wh": "energy of extraction, Wh",
}


def of_board(board: Board, runs: dict[str, CellResults]) -> list[Chart]:
    """Draw all charts of a board that has ranked rows.

    Parameters
    ----------
    runs
        By cell id, the runs of its rows.
    """
    if not board.rows:
        return []
    found = [ranking(board), features_by_models(board), costs(board), warm_and_cold(board), fold_by_fold(board, runs)]
    return [one for one in found if one is not None]


def labelled(rows: Sequence[BoardRow]) -> list[tuple[BoardRow, str]]:
    """Pair rows with their names, which are unique and printable."""
    return [(row, printable(name)) for row, name in zip(rows, names(rows), strict=True)]


def spread(row: BoardRow, metric: str = PRIMARY) -> tuple[float, float]:
    """Return the 95% interval of a row."""
    return row.low[metric], row.high[metric]


def _by_model(rows: Sequence[BoardRow], mark: Callable[[BoardRow, str], Content]) -> list[Content]:
    """Make a series a model; `mark` makes the point of a row of its name."""
    found: dict[str, list[Content]] = defaultdict(list)
    for row, name in labelled(rows):
        found[row.model].append(mark(row, name))
    return [charts.series(printable(model), at, points) for at, (model, points) in enumerate(found.items())]


def ranking(board: Board) -> Chart:
    """Draw nDCG@10 of every row with its 95% interval; the ceiling is a line, controls are hollow."""
    rows = [row for row in board.rows if row.model != CEILING]

    def mark(row: BoardRow, name: str) -> Content:
        return point(row.mean[PRIMARY], name, spread(row), key=row.cell, hollow=is_control(row))

    ceilings = [row for row in board.rows if row.model == CEILING]
    content = charts.dots(
        METRIC,
        [{"name": name, "key": row.cell} for row, name in labelled(rows)],
        _by_model(rows, mark),
        [{"name": name, "x": row.mean[PRIMARY], "key": row.cell} for row, name in labelled(ceilings)],
    )
    only = ", over users for these seeds only" if board.these_seeds_only else ""
    caption = (
        f"Mean over users, folds and seeds with 95% intervals{only}. Hollow: controls, and models without features."
        f"{' Line: the ceiling, the true probabilities of the simulator.' if ceilings else ''}"
    )
    return Chart("ranking", "Rows with their intervals", caption, {"": content})


def features_by_models(board: Board) -> Chart | None:
    """Draw extractors by models as a heat map, of each pair the best fusion; None for a board with one of both."""
    rows = [row for row in board.rows if row.extractor != "-" and row.model != CEILING]
    if len({row.extractor for row in rows}) < 2 and len({row.model for row in rows}) < 2:
        return None
    differences: dict[str, Callable[[BoardRow], dict[str, float] | None]] = {
        "minus the shuffled control": lambda row: row.delta_vs_shuffled,
        "minus ids alone": lambda row: minus_id(board, row),
    }

    def cell(row: BoardRow, value: float, mark: str = "") -> Content:
        place = {"row": printable(row.extractor), "column": printable(row.model)}
        return {**place, "value": value, "key": row.cell, "name": printable(row.label), "mark": mark}

    variants = {METRIC: charts.heat(METRIC, [cell(row, row.mean[PRIMARY]) for row in rows])}
    for title, of in differences.items():
        found = [(row, one) for row in rows if (one := of(row)) is not None]
        cells = [cell(row, one["value"], "" if side(one) == "holds" else "*") for row, one in found]
        if cells:
            variants[title] = charts.heat(f"{METRIC} {title}", cells, signed=True)
    caption = (
        "Of each pair the fusion with the highest nDCG@10 among the rows shown; the tip of a cell names it. * the 95% "
        "interval of the difference does not hold 0. Empty: not run."
    )
    return Chart("heat", "Features by models", caption, variants)


def costs(board: Board) -> Chart | None:
    """Draw quality against each cost that records hold, with the Pareto front; without the ceiling."""
    variants = {}
    titles = {**COSTS, **EXPENSES, **_AXES}
    for key in dict.fromkeys([*_AXES, *titles]):
        rows = [row for row in board.rows if (row.costs.get(key) or 0) > 0 and row.model != CEILING]

        def mark(row: BoardRow, name: str, key: str = key) -> Content:
            x = float(row.costs[key] or 0)
            return point(x, row.mean[PRIMARY], spread(row), key=row.cell, name=name, hollow=is_control(row))

        if rows:
            variants[titles[key]] = charts.plane(titles[key], METRIC, _by_model(rows, mark), log=True, front=True)
    if not variants:
        return None
    caption = (
        "Line: the Pareto front of the rows shown, those that no other row beats at the same cost or less. Wall clock "
        "and memory are those of the machines of the records. Hollow: controls, and models without features."
    )
    return Chart("cost", "Quality against cost", caption, variants)


def warm_and_cold(board: Board) -> Chart | None:
    """Draw nDCG@10 on warm targets among warm candidates, and on cold targets among all."""
    rows = [row for row in board.rows if row.slices.get("warm") is not None and row.model != CEILING]
    if not rows:
        return None
    named = labelled(rows)
    parts = [
        charts.series(
            part,
            colour,
            [point(value, name, key=row.cell) for row, name in named if (value := row.slices.get(part)) is not None],
            shape=shape,
        )
        for part, colour, shape in (("warm", WARM, "circle"), ("cold", COLD, "diamond"))
    ]
    caption = (
        "Warm: targets with events in the fitted rows, ranked among such items. Cold: targets without, ranked among "
        "all candidates. The two are not on one scale: compare rows, not the two marks of a row. Without the ceiling."
    )
    content = charts.dots(METRIC, [{"name": name, "key": row.cell} for row, name in named], parts)
    return Chart("warm-cold", "Warm and cold targets", caption, {"": content})


def fold_by_fold(board: Board, runs: dict[str, CellResults]) -> Chart | None:
    """Draw nDCG@10 of every row in every fold, averaged over seeds."""
    if board.facts["folds"] < 2:
        return None
    days = [str(info.get("border", at))[:10] for at, info in enumerate(board.facts["fold_info"])]
    parts = []
    for at, (row, name) in enumerate(labelled([row for row in board.rows if row.model != CEILING])):
        values: dict[int, list[float | None]] = defaultdict(list)
        for record in runs[row.cell].found.values():
            values[record.fold].append(record.metrics.get(PRIMARY))
        points = [point(day, _mean(values[fold])) for fold, day in enumerate(days)]
        dash = charts.DASHES[at // charts.COLOURS % 3]
        parts.append(charts.series(name, at, points, key=row.cell, line=True, marks=True, dash=dash))
    content = charts.plane("first day of the test window", METRIC, parts, words=days, most=charts.LINES)
    caption = f"Mean over users and seeds. The first {charts.LINES} of the rows shown; choose others in the legend."
    return Chart("folds", "Fold by fold", caption, {"": content})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
