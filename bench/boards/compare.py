"""Comparisons: two cells, every row of a board against a baseline, all pairs of a board.

Users and seeds are random effects everywhere, see `protocols.evaluation.statistics`. Rows are compared only on the
same board: the same data, protocol, folds and candidates.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bench import records
from bench.boards.cell_results import CellResults, by_board, finished
from bench.boards.lookup import select
from protocols.errors import UserError
from protocols.evaluation import significance_tests, slices, statistics
from protocols.evaluation.metrics import PRIMARY, parse
from protocols.wording import counted

if TYPE_CHECKING:
    import pandas as pd

HOLM, BENJAMINI_HOCHBERG = "Holm", "Benjamini-Hochberg"
CORRECTIONS = {HOLM: significance_tests.holm, BENJAMINI_HOCHBERG: significance_tests.benjamini_hochberg}


@dataclass(frozen=True)
class Line:
    """Comparison of row a with row b, on all users or on a slice; `p_adjusted` for its family."""

    a: str
    b: str
    found: statistics.Comparison
    part: str = ""
    p_adjusted: float | None = None

    @property
    def significant(self) -> bool | None:
        """At the 5% level after the correction; None under five seeds."""
        return self.found.significant(self.p_adjusted)


@dataclass
class Report:
    """Family of comparisons on one board.

    Attributes
    ----------
    facts
        Dataset, protocol, board, whether simulated, folds.
    metric
        The metric compared.
    correction
        Method that adjusted the p-values of the family: Holm, Benjamini-Hochberg, or empty for a single comparison.
    lines
        The comparisons.
    notes
        Remarks for the reader: rows left out and why.
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
            row |= {"underpowered": line.found.underpowered, "these_seeds_only": line.found.these_seeds_only}
            rows.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
        return {**self.facts, "metric": self.metric, "correction": self.correction, "rows": rows, "notes": self.notes}


def compare(a: CellResults, b: CellResults, metric: str = PRIMARY) -> Report:
    """Compare two runs on all users.

    Raises
    ------
    UserError
        If one of them lacks a seed or a fold, or failed.
    """
    _require_complete(a, b)
    name_a, name_b = _names([a, b])
    line = Line(name_a, name_b, _panel([a, b], metric).compare(0, 1))
    return Report(_facts(a), metric, "", [line], _shared_notes([line]))


def compare_slices(
    a: CellResults,
    b: CellResults,
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
    _require_complete(a, b)
    name_a, name_b = _names([a, b])
    sliced = [by_slice(run, metric, audio_heavy, short) for run in (a, b)]
    found = {}
    for part, frame in sliced[0].items():
        other = sliced[1].get(part)
        if other is not None and frame["value"].notna().any():
            panel = statistics.Panel([frame, other], [name_a, name_b], seeded=[bool(a.seeds), bool(b.seeds)])
            found[part] = panel.compare(0, 1)
    adjusted = statistics.adjust([comparison.p for comparison in found.values()], significance_tests.holm)
    lines = [Line(name_a, name_b, one, part, float(p)) for (part, one), p in zip(found.items(), adjusted, strict=True)]
    return Report(_facts(a), metric, HOLM, lines, _shared_notes(lines))


def by_slice(
    run: CellResults, metric: str, audio_heavy: Mapping[str, bool] | None, short: float = slices.SHORT
) -> dict[str, pd.DataFrame]:
    """Return [seed, fold, user_id, value] of every slice, by its name with its range over all folds."""
    import pandas as pd

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
    among: Sequence[CellResults], metric: str = PRIMARY, *, baseline: str | None = None, pairs: bool = False
) -> list[Report]:
    """Compare the rows of every board.

    Parameters
    ----------
    among
        Runs of any number of boards; rows without all seeds and folds of their board are left out and named, failed
        results left out.
    baseline
        Every row against this one, one Holm family a board. Where it fits several rows of a board, the best is taken.
    pairs
        All pairs as well, Benjamini-Hochberg.

    Raises
    ------
    UserError
        If no board has the baseline.
    """
    reports = []
    for rows in by_board(finished(among)):
        chosen = select(baseline, rows, required=False) if baseline else []
        reports += _board(rows, metric, chosen, baseline, pairs)
    if not reports:
        raise UserError("no board has two complete rows" + (f", one of them {baseline!r}" if baseline else ""))
    return reports


def _board(
    rows: list[CellResults], metric: str, chosen: list[CellResults], baseline: str | None, pairs: bool
) -> list[Report]:
    """Compare the families of one board; none where it has no two complete rows, or not the baseline."""
    seeds = max((one.seeds for one in rows), key=len)
    reasons = [one.incomplete(seeds)[0] for one in rows]
    left_out = [f"not compared: {one.label}: {why}" for one, why in zip(rows, reasons, strict=True) if why]
    complete = [one for one, why in zip(rows, reasons, strict=True) if not why]
    if len(complete) < 2 or not (pairs or any(one in chosen for one in complete)):
        return []
    panel, names = _panel(complete, metric), _names(complete)
    order = sorted(range(len(complete)), key=lambda at: (-panel.means[at], names[at]))
    bases = [at for at in order if complete[at] in chosen]
    families = [(HOLM, [(at, bases[0]) for at in order if at != bases[0]])] if bases else []
    if pairs:
        families.append((BENJAMINI_HOCHBERG, list(combinations(order, 2))))
    reports = []
    for correction, family in families:
        found = panel.family(family, CORRECTIONS[correction])
        lines = [Line(names[a], names[b], one, p_adjusted=p) for (a, b), (one, p) in zip(family, found, strict=True)]
        notes = _shared_notes(lines) + left_out
        if len(bases) > 1:
            notes.insert(0, f"{len(bases)} rows fit {baseline!r}; the best of them is {names[bases[0]]}.")
        reports.append(Report(_facts(complete[0]), metric, correction, lines, notes))
    return reports


def _names(rows: Sequence[CellResults]) -> list[str]:
    """Return labels, with the cell's id where two rows differ in options only."""
    labels = [run.label for run in rows]
    return [f"{run.label} ({run.cell.id})" if labels.count(run.label) > 1 else run.label for run in rows]


def _panel(rows: Sequence[CellResults], metric: str) -> statistics.Panel:
    return statistics.Panel(
        [run.values(metric) for run in rows], [run.label for run in rows], seeded=[bool(run.seeds) for run in rows]
    )


def _require_complete(*rows: CellResults) -> None:
    for run in rows:
        reason, _ = run.incomplete()
        if reason:
            raise UserError(f"{run.label}: {reason}", remedy="run the cell again: what is finished is reused")


def _shared_notes(lines: Sequence[Line]) -> list[str]:
    notes = []
    if any(line.found.these_seeds_only for line in lines):
        notes.append(
            "Fewer than five seeds in a row that depends on them: its intervals are over users, for these seeds only; "
            "no p and no significance mark."
        )
    smallest = min((line.found.smallest_fold for line in lines if not line.part), default=statistics.MIN_USERS)
    if smallest < statistics.MIN_USERS:
        notes.append(f"Underpowered: {counted(smallest, 'user')} in the smallest fold.")
    # what was found was not missed
    underpowered = [line for line in lines if line.found.underpowered and line.found.low <= 0 <= line.found.high]
    if underpowered:
        names = [f"{line.part or f'{line.a} and {line.b}'} ({line.found.detectable:.4f})" for line in underpowered]
        notes.append(
            "Underpowered: no difference found, and one of a tenth of b would be missed more than one time in five: "
            f"{'; '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}."
        )
    return notes


def _facts(run: CellResults) -> dict[str, Any]:
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
