"""Reruns of records that are drawn from a pack."""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import records
from bench.boards.leaderboard import METRICS
from bench.publishing.pack_check import title
from bench.publishing.submit import Entries
from bench.runs import restore
from bench.runs import run as runs
from protocols import json_text
from protocols.errors import BenchError, DataError, UserError
from protocols.progress import Progress

#: A rerun may be off by that many standard deviations between the seeds of its row, at most by that share of what the
#: pack says (invented seeds may lie as far apart as one likes), and by `FLOOR` in any case: another processor rounds
#: otherwise, and training carries that on.
DEVIATIONS, MOST, FLOOR = 3.0, 0.25, 0.0005


@dataclass(frozen=True)
class Rerun:
    """A result that was made again.

    Attributes
    ----------
    name
        Of the record in the pack.
    title
        Row, seed and fold.
    metric, said, found, tolerance
        The metric in the pack and now, and how far apart they may be.
    """

    name: str
    title: str
    metric: str
    said: float
    found: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Within tolerance."""
        return abs(self.said - self.found) <= self.tolerance


def drawn(entries: Entries, count: int, seed: int) -> list[list[str]]:
    """Draw rows with a seed each: the names of their records, all folds.

    Imported lists cannot be made again and are not drawn.
    """
    groups: dict[tuple[str, int], list[str]] = {}
    for name, (record, _) in sorted(entries.items()):
        if not record.cell["model"].startswith("imported:"):
            groups.setdefault((name.rpartition("/")[0], record.seed), []).append(name)
    return random.Random(seed).sample(sorted(groups.values()), min(count, len(groups)))


def rerun(
    entries: Entries,
    names: list[str],
    cache: Path,
    places: Mapping[str, Mapping[str, Any]],
    progress: Progress,
    tolerance: float | None = None,
) -> list[Rerun]:
    """Make the results of a row and a seed again, from the data of this machine.

    Parameters
    ----------
    entries
        All of the pack.
    names
        Of the records, as `drawn` returns them.
    cache
        Data and features; results go into a folder that is removed.
    places
        Options by plug-in name that records leave out: where files lie.
    tolerance
        Largest difference of a metric; None: by the seeds of the row.

    Raises
    ------
    UserError
        If the data, a checkpoint or a plug-in is not here, or the row names an address.
    DataError
        If what is here is not what the record was made from.
    BenchError
        If the run fails.
    """
    record = entries[names[0]][0]
    if "://" in json_text.dumps(record.cell):  # such as that of a server, which would be sent clips
        raise UserError("the row names an address, and a rerun calls none that a pack names", remedy="run it by hand")
    found: list[Rerun] = []
    with tempfile.TemporaryDirectory(prefix="bench-rerun-") as scratch:
        wanted = restore.request(record, cache, Path(scratch), places)
        restore.job(record, wanted, progress)  # before anything is trained: options, data and split are the record's
        outcome = runs.run(wanted, progress)
        by_fold = {one.fold: one for one in map(records.read, outcome.paths)}
        for name in names:
            said = entries[name][0]
            made = by_fold[said.fold]
            if made.status != "ok":
                raise BenchError(f"{title(said)}: the rerun failed: {made.failure}")
            found += _compared(name, entries, made, tolerance)
    return found


def _compared(name: str, entries: Entries, made: records.Record, tolerance: float | None) -> Iterator[Rerun]:
    said = entries[name][0]
    cell = name.rpartition("/")[0]
    others = [one for at, (one, _) in entries.items() if at.rpartition("/")[0] == cell and one.fold == said.fold]
    for metric in METRICS:
        values = [float(one.metrics[metric] or 0.0) for one in others]
        spread = DEVIATIONS * statistics.stdev(values) if len(values) > 1 else 0.0
        mine, its = float(said.metrics[metric] or 0.0), float(made.metrics[metric] or 0.0)
        allowed = max(min(spread, MOST * mine), FLOOR) if tolerance is None else tolerance
        yield Rerun(name, title(said), metric, mine, its, allowed)


def absent(error: BenchError) -> bool:
    """Return True for an error that says that something is not here, and nothing against the pack."""
    return isinstance(error, UserError) or not isinstance(error, DataError)
