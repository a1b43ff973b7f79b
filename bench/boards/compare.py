"""Comparisons: two cells, every row of a board against a baseline, all pairs of a board.

The user is the unit everywhere, see `protocols.evaluation.statistics`. Rows are compared only on the same board: the
same data, protocol, folds and candidates.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import pandas as pd

from bench.boards import records
from bench.boards.lookup import Run, select
from protocols.errors import UserError
from protocols.evaluation import significance_tests, slices, statistics
from protocols.evaluation.metrics import PRIMARY, parse

HOLM, BENJAMINI_HOCHBERG = "Holm", "Benjamini-Hochberg"


@dataclass(frozen=True)
class Line:
    """One comparison: row a against row b, on all users or on a slice; `p_adjusted` for its family."""

    a: str
    b: str
    found: statistics.Comparison
    part: str = ""
    p_adjusted: float | None = None

    @property
    def significant(self) -> bool | None:
        """At the 5% level after the correction; None under three seeds."""
        return self.found.significant(self.p_adjusted)


@dataclass
class Report:
    """A family of comparisons on one board.

    Attributes
    ----------
    facts
        Dataset, protocol, board, whether simulated, folds.
    metric
        What is compared.
    correction
        How p-values were adjusted for the family: Holm, Benjamini-Hochberg, or empty for a single comparison.
    lines
        The comparisons.
    notes
        What a reader must know: rows left out and why.
    """

    facts: dict[str, Any]
    metric: str
    correction: str
    lines: list[Line]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-able; undefined numbers are None."""
        rows = []
        for line in self.lines:
            row = {"a": line.a, "b": line.b, "slice": line.part, **asdict(line.found)}
            row |= {"p_adjusted": line.p_adjusted, "significant": line.significant}
            row["blunt"] = line.found.underpowered
            rows.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
        return {**self.facts, "metric": self.metric, "correction": self.correction, "rows": rows, "notes": self.notes}


def compare(a: Run, b: Run, metric: str = PRIMARY) -> Report:
    """Compare two runs on all users.

    Raises
    ------
    UserError
        If one of them lacks a seed or a fold, or failed.
    """
    _insist(a, b)
    name_a, name_b = _names([a, b])
    line = Line(name_a, name_b, _panel([a, b], metric).compare(0, 1))
    return Report(_facts(a), metric, "", [line], _shared_notes([line]))


def compare_slices(
    a: Run,
    b: Run,
    metric: str = PRIMARY,
    audio_heavy: Mapping[str, bool] | None = None,
    short: float = slices.SHORT,
) -> Report:
    """Compare two runs on every slice, see `protocols.evaluation.slices.slices`; Holm over the slices.

    Parameters
    ----------
    a, b, metric
        As in `compare`.
    audio_heavy
        By raw item id, for the slices of that name; None: there are none.
    short
        Clips up to this long are one slice, longer ones another, in seconds.

    Raises
    ------
    UserError
        If one of them lacks a seed or a fold, the metric names targets itself (`_warm`), or no ranks were recorded.
    """
    if parse(metric)[2]:
        raise UserError(f"{metric!r} is a slice already", remedy=f"--metric {metric.rpartition('_')[0]}")
    _insist(a, b)
    name_a, name_b = _names([a, b])
    sliced = [by_slice(run, metric, audio_heavy, short) for run in (a, b)]
    lines = []
    for part, frame in sliced[0].items():
        other = sliced[1].get(part)
        if other is not None and frame["value"].notna().any():
            panel = statistics.Panel([frame, other], [name_a, name_b], seeded=[bool(a.seeds), bool(b.seeds)])
            lines.append(Line(name_a, name_b, panel.compare(0, 1), part))
    return Report(_facts(a), metric, HOLM, _adjusted(lines, HOLM), _shared_notes(lines))


def by_slice(
    run: Run, metric: str, audio_heavy: Mapping[str, bool] | None, short: float = slices.SHORT
) -> dict[str, pd.DataFrame]:
    """Frames [seed, fold, user_id, value] of every slice, by its name with what it spans over all folds."""
    parts: dict[tuple[str, str], list[pd.DataFrame]] = defaultdict(list)
    spans: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path, record in run.found.items():
        users = records.users(path, [c for c in records.columns(path) if c in slices.NEEDED])
        targets = run.targets(path, users)
        for found in slices.slices(users, metric, targets=targets, audio_heavy=audio_heavy, short=short):
            key = (found.group, found.name)
            frame = pd.DataFrame({"user_id": users["user_id"], "value": found.values})
            parts[key].append(frame.assign(seed=record.seed, fold=record.fold))
            spans[key] += [number for number in (found.low, found.high) if number is not None]
    named = {}
    for (group, name), frames in parts.items():
        span = spans[group, name]
        bounds = f" ({min(span):.4g} to {max(span):.4g})" if span else ""
        named[f"{group}: {name}{bounds}"] = pd.concat(frames, ignore_index=True)
    return named


def grid(
    among: Sequence[Run], metric: str = PRIMARY, *, baseline: str | None = None, pairs: bool = False
) -> list[Report]:
    """Compare the rows of every board.

    Parameters
    ----------
    among
        Runs of any number of boards; rows without all seeds and folds of their board are left out and named.
    baseline
        Every row against this one, one Holm family a board. Where it fits several rows of a board, the best is taken.
    pairs
        All pairs as well, Benjamini-Hochberg.

    Raises
    ------
    UserError
        If no board has the baseline.
    """
    boards: dict[str, list[Run]] = defaultdict(list)
    for run in among:
        boards[run.board].append(run)
    reports = []
    for rows in boards.values():
        chosen = select(baseline, rows, required=False) if baseline else []
        reports += _board(rows, metric, chosen, baseline, pairs)
    if not reports:
        raise UserError("no board has two complete rows" + (f", one of them {baseline!r}" if baseline else ""))
    return reports


def _board(rows: list[Run], metric: str, chosen: list[Run], baseline: str | None, pairs: bool) -> list[Report]:
    """Families of one board; none where it has no two complete rows, or not the baseline."""
    seeds = max((run.seeds for run in rows), key=len)
    reasons = [run.incomplete(seeds) for run in rows]
    left_out = [f"not compared: {run.label}: {why}" for run, why in zip(rows, reasons, strict=True) if why]
    complete = [run for run, why in zip(rows, reasons, strict=True) if not why]
    if len(complete) < 2 or not (pairs or any(run in chosen for run in complete)):
        return []
    panel, names = _panel(complete, metric), _names(complete)
    order = sorted(range(len(complete)), key=lambda at: (-panel.means[at], names[at]))
    bases = [at for at in order if complete[at] in chosen]
    families = []
    if bases:
        families.append((HOLM, [(at, bases[0]) for at in order if at != bases[0]]))
    if pairs:
        families.append((BENJAMINI_HOCHBERG, list(combinations(order, 2))))
    reports = []
    for correction, family in families:
        lines = [Line(names[a], names[b], panel.compare(a, b)) for a, b in family]
        notes = _shared_notes(lines) + left_out
        if len(bases) > 1:
            notes.insert(0, f"{len(bases)} rows fit {baseline!r}; the best of them is {names[bases[0]]}.")
        reports.append(Report(_facts(complete[0]), metric, correction, _adjusted(lines, correction), notes))
    return reports


def _names(rows: Sequence[Run]) -> list[str]:
    """Labels; with the cell's id where two rows differ in options only."""
    labels = [run.label for run in rows]
    return [f"{run.label} ({run.cell.id})" if labels.count(run.label) > 1 else run.label for run in rows]


def _panel(rows: Sequence[Run], metric: str) -> statistics.Panel:
    return statistics.Panel(
        [run.values(metric) for run in rows], [run.label for run in rows], seeded=[bool(run.seeds) for run in rows]
    )


def _adjusted(lines: list[Line], correction: str) -> list[Line]:
    adjust = significance_tests.holm if correction == HOLM else significance_tests.benjamini_hochberg
    adjusted = adjust([line.found.p_permutation for line in lines])
    return [Line(x.a, x.b, x.found, x.part, float(p)) for x, p in zip(lines, adjusted, strict=True)]


def _insist(*rows: Run) -> None:
    for run in rows:
        reason = run.incomplete()
        if reason:
            raise UserError(f"{run.label}: {reason}", remedy="run the cell again: what is finished is reused")


def _shared_notes(lines: Sequence[Line]) -> list[str]:
    notes = []
    if any(line.found.n_seeds < statistics.MIN_SEEDS for line in lines):
        notes.append("Fewer than three seeds in a row that depends on them: no significance mark there.")
    smallest = min((line.found.smallest_fold for line in lines if not line.part), default=statistics.MIN_USERS)
    if smallest < statistics.MIN_USERS:
        notes.append(f"Underpowered: {smallest} users in the smallest fold.")
    # what was found was not missed
    blunt = [line for line in lines if line.found.underpowered and not line.found.p_permutation < 0.05]
    if blunt:
        names = [f"{line.part or f'{line.a} and {line.b}'} ({line.found.detectable:.4f})" for line in blunt]
        notes.append(
            "Underpowered: no difference found, and one of a tenth of b would be missed more than one time in five: "
            f"{'; '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}."
        )
    return notes


def _facts(run: Run) -> dict[str, Any]:
    record = run.any_record
    users = {r.fold: r.fold_info.get("users") for r in run.found.values()}
    return {
        "dataset": run.cell.dataset,
        "simulated": record.simulated,
        "protocol": run.cell.protocol,
        "board": run.board,
        "folds": run.folds,
        "users": [users[fold] for fold in sorted(users)],
    }
