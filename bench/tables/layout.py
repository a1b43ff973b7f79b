"""Content of a table of a board in any format: columns, cells, the best and the second of each, lines around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.boards.leaderboard import Board
from bench.boards.rows import AMONG_COLD, CEILING, COSTS, BoardRow
from bench.tables import columns
from bench.tables.numbers import NONE, metric_name, p_value, rank_range, short, signed
from protocols.evaluation.statistics import MIN_SEEDS
from protocols.wording import counted
from recommenders.encoder.fusions import kind_of

#: What `recommenders.training.sequential_model` chooses in a large catalogue.
LARGE = "in-batch: softmax over sampled negatives, the other targets of a step, corrected by log-popularity"
GROUPS = ("extractor", "model")
SIMULATED = "Simulated world: the order of extractors here tests the plumbing, it is no evidence about extractors."
BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class View:
    """Arrangement of a board in a table.

    Attributes
    ----------
    group_by
        Rows of one extractor or model stand together, the group with the best row first; "": by rank alone.
    pivot
        Extractors and fusions as rows, models as columns, one value of the board's metric each.
    columns
        Names of `bench.tables.columns.COLUMNS`; none: all that tables have, in LaTeX the usual ones.
    rows
        How many, best first; 0: all.
    """

    group_by: str = ""
    pivot: bool = False
    columns: tuple[str, ...] = ()
    rows: int = 0


@dataclass(frozen=True)
class TableCell:
    """Cell of a table.

    Attributes
    ----------
    text
        Not escaped.
    place
        In its column: `best`, `second` or none.
    span
        Numbers of a value with an interval.
    """

    text: str
    place: str = ""
    span: columns.Span | None = None


@dataclass(frozen=True)
class Table:
    """Table in no particular format.

    Attributes
    ----------
    title, headline, notes
        The board's name, the lines above the table and those below it; not escaped.
    head
        Names of the columns.
    words
        How many columns, from the left, hold words; the others hold numbers.
    body
        Rows.
    breaks
        Positions in `body` before which a new group begins.
    marker
        Comment from which `bench verify-table` makes it again, JSON in ASCII on one line.
    """

    title: str
    headline: list[str]
    notes: list[str]
    head: list[str]
    words: int
    body: list[list[TableCell]]
    breaks: tuple[int, ...]
    marker: str


#: Head, number of columns of words, body and breaks of a `Table`.
Columns = tuple[list[str], int, list[list[TableCell]], tuple[int, ...]]


def lay_out(board: Board, view: View) -> Table:
    """Fill the table of a board."""
    fill = _pivot if view.pivot else _chosen if view.columns else _rows
    head, words, body, breaks = fill(board, view)
    return Table(title(board), headline(board), notes(board), head, words, body, breaks, marker(board, view))


def marker(board: Board, view: View) -> str:
    """Make the comment of a table: hash of its records, and how it was made from them."""
    content: dict[str, Any] = {"id": board.id, "metric": board.metric, "baseline": board.baseline, **asdict(view)}
    content = {name: value for name, value in content.items() if value or name not in ("columns", "rows")}
    # a comment ends at --> in Markdown: no bracket may stand in it
    return json.dumps(content, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e")


def ordered(board: Board, view: View) -> list[tuple[int, BoardRow]]:
    """Return ranks and rows in the order of the view."""
    ranked = list(enumerate(board.rows, 1))[: view.rows or None]
    if not view.group_by:
        return ranked
    first: dict[str, int] = {}
    for rank, row in ranked:
        first.setdefault(getattr(row, view.group_by), rank)
    return sorted(ranked, key=lambda at: (first[getattr(at[1], view.group_by)], at[0]))


def _rows(board: Board, view: View) -> Columns:
    metric = metric_name(board.metric)
    rows = [row for _, row in ordered(board, view)]
    columns = {"#": [TableCell(f"{rank}{' =' if row.tied else ''}") for rank, row in ordered(board, view)]}
    columns["ranks"] = [TableCell(rank_range(row)) for row in rows]
    for name in ("model", "extractor", "fusion"):
        columns["features" if name == "extractor" else name] = [TableCell(getattr(row, name)) for row in rows]
    for name in board.metrics:
        shown = [f"{row.mean[name]:.4f} [{row.low[name]:.4f}, {row.high[name]:.4f}]" for row in rows]
        places = _places([None if row.model == CEILING else row.mean[name] for row in rows])
        columns[f"{metric_name(name)} [95%]"] = [
            TableCell(text, place) for text, place in zip(shown, places, strict=True)
        ]
    columns["seed SD"] = [_number(row.seed_sd[board.metric]) for row in rows]
    columns[f"diff. to {board.baseline or 'id'} [95%]"] = [TableCell(signed(row.delta_vs_baseline)) for row in rows]
    columns["p (Holm)"] = [_p(row) for row in rows]
    if any(row.delta_vs_id for row in rows):
        columns["diff. to its id [95%]"] = [TableCell(signed(row.delta_vs_id)) for row in rows]
    if any(row.delta_vs_shuffled for row in rows):
        columns["diff. to shuffled [95%]"] = [TableCell(signed(row.delta_vs_shuffled)) for row in rows]
    columns[f"{metric} warm"] = [_number(row.slices.get("warm")) for row in rows]
    columns["cold"] = [_number(row.slices.get("cold")) for row in rows]
    if any(row.slices.get(AMONG_COLD) is not None for row in rows):
        columns["cold among cold [95%] (users)"] = [TableCell(among_cold(row)) for row in rows]
    columns["covered"] = [TableCell(NONE if row.coverage is None else f"{row.coverage:.0%}") for row in rows]
    for cost, name in COSTS.items():
        columns[name] = [_cost(row, cost) for row in rows]
    columns["checkpoints"] = [TableCell(row.checkpoints or NONE) for row in rows]
    body = [list(cells) for cells in zip(*columns.values(), strict=True)]
    return list(columns), 5, body, _breaks(rows, view.group_by)


def _chosen(board: Board, view: View) -> Columns:
    """Fill the columns that were asked for."""
    rows = [row for _, row in ordered(board, view)]
    heads, body = columns.table(board, view.columns, rows)
    scores = {"score": board.metric, "hr": "hr@10"}
    places = {
        at: _places([None if row.model == CEILING else row.mean[scores[name]] for row in rows])
        for at, name in enumerate(view.columns)
        if name in scores
    }
    spans = [columns.SPANS.get(name, lambda board, row: None) for name in view.columns]
    cells = [
        [
            TableCell(text, places[at][line] if at in places else "", span(board, row))
            for at, (text, span) in enumerate(zip(texts, spans, strict=True))
        ]
        for line, (row, texts) in enumerate(zip(rows, body, strict=True))
    ]
    words = next((at for at, name in enumerate(view.columns) if name not in columns.WORDS), len(view.columns))
    return heads, words, cells, _breaks(rows, view.group_by)


def _pivot(board: Board, view: View) -> Columns:
    models = list(dict.fromkeys(row.model for row in board.rows))
    lines = list(dict.fromkeys((row.extractor, row.fusion) for row in board.rows))
    found: dict[tuple[str, str, str], BoardRow] = {}
    for row in board.rows:  # best first: of rows that differ in options only, the best is shown
        found.setdefault((row.model, row.extractor, row.fusion), row)
    body = [[TableCell(extractor), TableCell(fusion)] for extractor, fusion in lines]
    for model in models:
        column = [found.get((model, *line)) for line in lines]
        values = [None if row is None or model == CEILING else row.mean[board.metric] for row in column]
        for cells, one, place in zip(body, column, _places(values), strict=True):
            mark = "" if one is None else f"{' *' if one.significant else ''}{' =' if one.tied else ''}"
            cells.append(TableCell(NONE) if one is None else TableCell(f"{one.mean[board.metric]:.4f}{mark}", place))
    return ["features", "fusion", *models], 2, body, ()


def _places(values: Sequence[float | None]) -> list[str]:
    """Find `best` and `second` of a column; equal values share their place."""
    known = sorted({value for value in values if value is not None}, reverse=True)
    names = dict(zip(known, (BEST, SECOND), strict=False))
    return ["" if value is None else names.get(value, "") for value in values]


def _breaks(rows: Sequence[BoardRow], group_by: str) -> tuple[int, ...]:
    if not group_by:
        return ()
    names = [getattr(row, group_by) for row in rows]
    return tuple(at for at in range(1, len(names)) if names[at] != names[at - 1])


def _number(value: float | None) -> TableCell:
    return TableCell(NONE if value is None else f"{value:.4f}")


def _p(row: BoardRow) -> TableCell:
    p = (row.delta_vs_baseline or {}).get("p_holm")
    return TableCell(f"{p_value(p)}{' *' if row.significant else ''}")


def _cost(row: BoardRow, cost: str) -> TableCell:
    # a row without features has none to extract: that is no gap in the record
    if cost in ("extract", "bytes") and row.coverage is None and row.costs.get(cost) is None:
        return TableCell(NONE)
    return TableCell(short(row.costs.get(cost)))


def among_cold(row: BoardRow) -> str:
    """Write the metric on cold targets among cold candidates, with its interval and the number of users."""
    value, low, high, users = (row.slices.get(AMONG_COLD + ending) for ending in ("", "_low", "_high", "_users"))
    if value is None or low is None or high is None or users is None:
        return NONE
    return f"{value:.4f} [{low:.4f}, {high:.4f}] ({users:,.0f})"


def title(board: Board) -> str:
    """Name a board: dataset, protocol and fingerprint."""
    simulated = " (simulated data)" if board.simulated else ""
    return f"{board.facts['dataset']}{simulated}, {board.facts['protocol']}, board {board.fingerprint[:12]}"


def headline(board: Board) -> list[str]:
    """Write the lines above a table: targets, candidates, users, seeds; not escaped."""
    facts, infos = board.facts, board.facts["fold_info"]
    users = ", ".join(str(info.get("users", "?")) for info in infos)
    targets = ", ".join(f"{info.get('targets_per_user_mean', float('nan')):.1f}" for info in infos)
    median = ", ".join(f"{info.get('targets_per_user_median', float('nan')):.0f}" for info in infos)
    lines = []
    if board.simulated:
        lines.append(SIMULATED)
    lines.append(
        f"{counted(facts['folds'], 'fold')}, ranked users {users}; targets per user mean {targets}, median {median}."
    )
    if infos and "candidates" in infos[-1]:
        released = [info["released_in_window"] for info in infos if "released_in_window" in info]
        share = ", ".join(f"{one:.0%}" for one in released)
        inside = f"; targets released inside the window: {share}" if released else ""
        lines.append(f"Candidates: {infos[-1]['candidates']}{inside}.")
    if any(info.get("drawn_from") for info in infos):
        whole = ", ".join(str(info.get("drawn_from", info.get("users", "?"))) for info in infos)
        lines.append(f"Users: a SAMPLE, drawn with a seed from {whole}; intervals and tests are over those drawn.")
    lines.append(f"Seeds: {', '.join(map(str, facts['seeds'])) or 'none'}. Full ranking, seen items masked.")
    return lines


def _about_seeds(board: Board) -> list[str]:
    """Say what ranks and marks rest on, and what a board of few seeds cannot tell."""
    drawn = "users" if board.these_seeds_only else "users and seeds"
    found = [f"ranks: 95% interval of a row's rank, {drawn} resampled together for all rows."]
    count = len(board.facts["seeds"])
    if board.these_seeds_only:
        unsaid = "how far another seed moves a row is unknown" if count == 1 else "other seeds may move rows further"
        found.append(
            f"{counted(count, 'seed')}, fewer than {MIN_SEEDS}: intervals are over users, for these "
            f"seeds only; {unsaid}. No p and no significance marks: these take --seeds {MIN_SEEDS}."
        )
    elif any(row.significant for row in board.rows):
        found.append(
            f"Rows marked * differ in {metric_name(board.metric)} from {board.baseline} at the 5% level (t over users "
            "and seeds, Holm over the board)."
        )
    return found


def notes(board: Board) -> list[str]:
    """Write the lines below a table: the meaning of its marks, warnings, unranked rows; not escaped."""
    found = []
    name = metric_name(board.metric)
    tied = sum(row.tied is True for row in board.rows)
    if tied > 1:
        found.append(
            f"Rows marked = cannot be told apart in {name} from the best of them (t over users and seeds, Holm "
            "over all rows against it, the ceiling left out)."
        )
    if any(row.delta_vs_shuffled for row in board.rows):
        found.append(
            "diff. to shuffled: the value of the content of the features, against the same vectors on the wrong items "
            "(95% interval, uncorrected)."
        )
    if any("pocket" in row.checkpoints for row in board.rows):
        found.append("pocket: small checkpoints trained from scratch for this demo, never comparable with real ones.")
    if any("random" in row.checkpoints for row in board.rows):
        found.append("random: the same architecture with random weights.")
    return [*found, *_about_seeds(board), *about_rows(board), *warnings(board)]


def about_rows(board: Board) -> list[str]:
    """Write why rows carry the marks of degenerate features, ties and doubtful fits, and what fusions cost ids."""
    degenerate = dict.fromkeys((row.extractor, row.degenerate) for row in board.rows if row.degenerate)
    found = [f"DEGENERATE features: {extractor}: {why}." for extractor, why in degenerate]
    costs = {row.fusion: kind_of(row.fusion).handicap for row in board.rows}
    found += [
        f"Fusion {fusion}: {why}, so that it may lose to ids alone by itself." for fusion, why in costs.items() if why
    ]
    by_hash = [f"{row.label} {row.tie_share:.0%}" for row in board.rows if row.tie_share > 0.01]
    if by_hash:
        found.append(f"Top tens decided by the tie-break: {', '.join(by_hash)}.")
    doubtful = [f"{row.label} {row.doubts[0]} of {row.doubts[1]}" for row in board.rows if row.doubts[0]]
    if doubtful:
        found.append(
            "Fits that kept two epochs or fewer, or were still rising at the last one, so that training may have "
            f"missed the optimum: {', '.join(doubtful)}."
        )
    return found


def warnings(board: Board) -> list[str]:
    """Write what speaks against all numbers of a board, and its unranked rows; not escaped."""
    found = []
    if board.facts["retrospective"]:
        found.append(
            f"LEAKS THE FUTURE by construction: {board.facts['protocol']} fits on events later than targets. "
            "Compare with published numbers of the same protocol only."
        )
    found += [
        f"VALIDATION, fold {at}: {info['validation_note']}."
        for at, info in enumerate(board.facts["fold_info"])
        if info.get("validation_note")
    ]
    found += [
        f"Releases: {info['release_note']}." for info in board.facts["fold_info"][-1:] if info.get("release_note")
    ]
    if board.facts["audit_failures"]:
        found.append(f"LEAK AUDIT: {counted(board.facts['audit_failures'], 'failed check')}, see the records.")
    ceiling = next((row.high[board.metric] for row in board.rows if row.model == CEILING), None)
    above = [row.label for row in board.rows if ceiling is not None and row.low[board.metric] > ceiling]
    if above:
        found.append(f"ERROR: {', '.join(above)} ranks better than the oracle, which nothing can.")
    ranked = {row.model for row in board.rows}
    found += [f"Left out: {line}." for line in board.facts.get("left_out", ()) if line.partition(":")[0] not in ranked]
    if validated_on := board.facts.get("validated_on"):
        found.append(f"Early stopping goes by {validated_on}; all users of a board are ranked on its test windows.")
    if chosen := board.facts.get("chosen_by_size"):
        found.append(f"Options chosen by the size of the catalogue ({LARGE}): {'; '.join(chosen)}.")
    small = [i for i, info in enumerate(board.facts["fold_info"]) if 0 < info.get("users", 1000) < 100]
    if small:
        found.append(f"Underpowered: under 100 users in fold(s) {', '.join(map(str, small))}.")
    found += [f"not ranked: {row.label}: {row.reason}" for row in board.unranked]
    return found
