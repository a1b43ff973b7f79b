"""Runs by name: from what a user types to the records of one cell on one board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.boards import records, rows
from protocols.errors import DataError, UserError, nearest_names
from protocols.evaluation import slices


@dataclass(frozen=True, eq=False)
class Run:
    """All seeds and folds of one cell on one board.

    Attributes
    ----------
    cell, board
        What it is, and the fingerprint it belongs to.
    found
        Its records by path.
    """

    cell: records.Cell
    board: str
    found: dict[Path, records.Record]

    @property
    def label(self) -> str:
        """Short name for people."""
        return self.cell.label

    @property
    def seeds(self) -> list[int]:
        """Its seeds; none where the result does not depend on one."""
        return rows.seeds_of(self.found.values())

    @property
    def folds(self) -> int:
        """Number of folds of the board."""
        return max(record.fold_info.get("folds", record.fold + 1) for record in self.found.values())

    @property
    def any_record(self) -> records.Record:
        """Its first record: what all of them share stands there."""
        return next(iter(self.found.values()))

    def incomplete(self, seeds: list[int] | None = None) -> str:
        """Why it cannot be compared; empty if it can."""
        return rows.incomplete(self.found.values(), self.seeds if seeds is None else seeds, self.folds)[0]

    def values(self, metric: str) -> pd.DataFrame:
        """One metric as [seed, fold, user_id, value]; computed from the ranks where the records do not hold it.

        Raises
        ------
        DataError
            If a record holds neither the metric nor the ranks.
        """
        parts = []
        for path, record in self.found.items():
            try:
                users = rows.user_values(path, [metric])
            except DataError as error:
                raise DataError(f"{self.label}, {error}", error.remedy) from error
            parts.append(users.rename(columns={metric: "value"}).assign(seed=record.seed, fold=record.fold))
        return pd.concat(parts, ignore_index=True)

    def targets(self, path: Path, users: pd.DataFrame) -> slices.Targets:
        """Ranks of the targets of one of its records.

        Raises
        ------
        DataError
            If there are none, naming the file.
        """
        try:
            return slices.Targets.of(users)
        except DataError as error:
            raise DataError(f"{self.label}, {records.frame_of(path).name}: {error}", error.remedy) from error


def runs(paths: Iterable[Path], dataset: str | None = None, protocol: str | None = None) -> list[Run]:
    """Group records by board and cell: the newest of each seed and fold."""
    groups: dict[tuple[str, str], dict[Path, records.Record]] = defaultdict(dict)
    read = {path: records.read(path) for path in paths}
    for (cell, _, _), path in records.newest(read).items():
        record = read[path]
        if dataset in (None, record.cell["dataset"]) and protocol in (None, record.cell["protocol"]):
            groups[record.board, cell][path] = record
    return [
        Run(records.Cell(**next(iter(found.values())).cell), board, dict(sorted(found.items())))
        for (board, _), found in sorted(groups.items())
    ]


def select(name: str, among: Sequence[Run], *, required: bool = True) -> list[Run]:
    """Find the runs that a user's words mean.

    Parameters
    ----------
    name
        Path of a record or of a cell's folder (all its seeds and folds are taken); or model, extractor and fusion, or
        some of them that stand together: `sasrec/captions/gate`, `sasrec/captions`, `pop`, `id`; or a cell's id, or the
        name of its folder.
    among
        Where names are looked up.
    required
        Whether it is an error that nothing fits.

    Raises
    ------
    UserError
        If nothing fits, naming what there is.
    """
    path = Path(name)
    if path.suffix == ".json" or path.is_dir():
        return [_at(path)]
    words = name.replace(" ", "/").split("/")
    exact, partial = [], []
    for run in among:
        label = run.label.replace(" ", "/").split("/")  # a fusion may have two parts: gate/softmax
        if words == label or name == run.cell.folder.name or (len(name) >= 6 and run.cell.id.startswith(name)):
            exact.append(run)
        elif any(label[at : at + len(words)] == words for at in range(len(label))):
            partial.append(run)
    if required and not exact + partial:
        known = nearest_names(name, (run.label.replace(" ", "/") for run in among))
        raise UserError(f"no run {name!r} in the results; {known}", remedy="bench run makes one")
    return exact or partial


def _at(path: Path) -> Run:
    """Read the run that a record belongs to, or that a folder holds."""
    if path.is_dir():
        found = runs(records.find(path))
        if len(found) != 1:
            raise UserError(f"{path} holds records of {len(found)} cells or boards", remedy="name one record in it")
        return found[0]
    record = records.read(path)
    beside = {p: records.read(p) for p in records.find(path.parent)}
    mine = [p for p, r in beside.items() if (r.cell, r.board) == (record.cell, record.board)]
    return runs(mine)[0]


def choose(name_a: str, name_b: str, among: Sequence[Run]) -> tuple[Run, Run]:
    """Find the two runs of a comparison.

    Raises
    ------
    UserError
        If a name fits nothing or several runs, or the two are on different boards: then it says what differs.
    """
    first, second = select(name_a, among), select(name_b, among)
    pairs = [(a, b) for a in first for b in second if a.board == b.board and a is not b]
    if len(pairs) == 1:
        return pairs[0]
    for name, found in ((name_a, first), (name_b, second)):
        if len(found) > 1:
            several = "; ".join(f"{run.label} ({run.cell.id}, board {run.board[:12]})" for run in found)
            raise UserError(
                f"{name!r} fits {len(found)} runs: {several}",
                remedy="name model/extractor/fusion, a cell's id or a record's path, or narrow with --dataset",
            )
    a, b = first[0], second[0]
    if a.board == b.board:
        raise UserError(f"{name_a!r} and {name_b!r} are the same run")
    raise UserError(
        f"{a.label} and {b.label} stand on different boards and are never compared: "
        + "; ".join(board_differences(a.any_record, b.any_record)),
        remedy="run both with the same dataset and protocol",
    )


def board_differences(a: records.Record, b: records.Record) -> list[str]:
    """Say in which part two boards differ: dataset, protocol knobs, folds."""
    found = []
    for part in ("dataset", "protocol"):
        if a.cell[part] != b.cell[part]:
            found.append(f"{part} {a.cell[part]!r} and {b.cell[part]!r}")
            continue
        mine, other = (record.cell["options"].get(part, {}) for record in (a, b))
        for knob in sorted(mine.keys() | other.keys()):
            if mine.get(knob) != other.get(knob):
                found.append(f"{part}.{knob} {mine.get(knob)!r} and {other.get(knob)!r}")
    prints = [str(record.dataset.get("fingerprint", ""))[:16] for record in (a, b)]
    if prints[0] != prints[1]:
        found.append(f"dataset content {prints[0]} and {prints[1]}")
    for name in ("folds", "border", "end"):
        if name != "folds" and a.fold != b.fold:
            continue
        values = [record.fold_info.get(name) for record in (a, b)]
        if values[0] != values[1]:
            found.append(f"{name}{'' if name == 'folds' else f' of fold {a.fold}'} {values[0]} and {values[1]}")
    return found or [f"fingerprints {a.board} and {b.board} (the code or the folds' content changed)"]
