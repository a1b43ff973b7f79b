"""Results of cells: the records of all seeds and folds, and their metrics of single users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench import records
from protocols.errors import DataError
from protocols.evaluation import slices
from protocols.hashing import digest
from protocols.wording import counted


@dataclass(frozen=True, eq=False)
class CellResults:
    """All seeds and folds of one cell on one board.

    Attributes
    ----------
    cell, board
        The cell, and the fingerprint of its board.
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
    def any_record(self) -> records.Record:
        """Its first record, for what all of them share."""
        return next(iter(self.found.values()))

    @property
    def board_key(self) -> tuple[str, int]:
        """Board and version of the metrics: cells are compared only where both match."""
        return self.board, self.any_record.metrics_version

    @property
    def seeds(self) -> list[int]:
        """Its seeds; none where the result does not depend on one."""
        return sorted({record.seed for record in self.found.values() if record.seed})

    @property
    def folds(self) -> int:
        """Number of folds of the board."""
        return max(record.fold_info.get("folds", record.fold + 1) for record in self.found.values())

    def incomplete(self, seeds: Sequence[int] | None = None, folds: int | None = None) -> tuple[str, bool]:
        """Say why the cell cannot be ranked or compared (empty if it can), and whether that was an error.

        Parameters
        ----------
        seeds, folds
            Of the board; None: those of the cell. A cell that does not depend on seeds needs seed 0 only.
        """
        failed = [record for record in self.found.values() if record.status != "ok"]
        if failed:
            return f"{len(failed)} failed: {failed[0].failure}", True
        mine = self.seeds
        wanted = {
            (seed, fold)
            for seed in ((mine if seeds is None else seeds) if mine else [0])
            for fold in range(self.folds if folds is None else folds)
        }
        absent = wanted - {(record.seed, record.fold) for record in self.found.values()}
        if not absent:
            return "", False
        names = ", ".join(f"seed {s} fold {f}" for s, f in sorted(absent)[:3])
        return f"{counted(len(absent), 'result')} missing ({names}{', ...' if len(absent) > 3 else ''})", False

    def users(self, metrics: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
        """Return the metrics of all users as [seed, fold, user_id, *metrics]; NaN for users without such a target.

        A metric that the records do not hold is computed from the ranks of the targets.

        Parameters
        ----------
        metrics
            `ndcg@10`, `hr@20_warm` and the like.
        optional
            Metrics that are left out, each by itself, where a record holds neither it nor the ranks.

        Raises
        ------
        DataError
            If a record holds neither a metric nor the ranks, or its per-user file is broken or another's.
        """
        read = []
        for path, record in self.found.items():
            held = records.columns(path)
            known = [one for one in optional if one in held or slices.required(one) <= set(held)]
            frame = self._metrics(path, record, [*metrics, *known])
            read.append(frame.assign(seed=record.seed, fold=record.fold))
        return pd.concat(read, ignore_index=True, join="inner")

    def _metrics(self, path: Path, record: records.Record, metrics: Sequence[str]) -> pd.DataFrame:
        """Read [user_id, *metrics] of one record."""
        held = records.columns(path)
        absent = [metric for metric in metrics if metric not in held]
        ranks = [column for column in held if column in slices.NEEDED] if absent else []
        wanted = dict.fromkeys(["user_id", *(metric for metric in metrics if metric in held), *ranks])
        users = records.checked_users(path, record, list(wanted))
        if absent:
            targets = self.targets(path, users)
            users = users.assign(**{metric: targets.values(metric) for metric in absent})
        return users[["user_id", *metrics]]

    def values(self, metric: str) -> pd.DataFrame:
        """Return one metric as [seed, fold, user_id, value], the frame of `protocols.evaluation.statistics`."""
        return values_of(self.users([metric]), metric)

    def targets(self, path: Path, frame: pd.DataFrame) -> slices.Targets:
        """Return the ranks of the targets of one of its records.

        Raises
        ------
        DataError
            If the record holds none, naming the file.
        """
        try:
            return slices.Targets.of(frame)
        except DataError as error:
            raise DataError(f"{self.label}, {records.frame_of(path).name}: {error}", error.remedy) from error


def values_of(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Take one metric out of `CellResults.users`, as [seed, fold, user_id, value]."""
    return frame[["seed", "fold", "user_id", metric]].rename(columns={metric: "value"})


def is_of(record: records.Record, dataset: str | None, protocol: str | None) -> bool:
    """Return True for a record of these plug-ins; None: of any."""
    return dataset in (None, record.cell["dataset"]) and protocol in (None, record.cell["protocol"])


def by_cell(
    found: Mapping[Path, records.Record], dataset: str | None = None, protocol: str | None = None
) -> list[CellResults]:
    """Group records by board, metrics version and cell, in the order of their first records.

    Parameters
    ----------
    dataset, protocol
        Only records of these plug-ins.
    """
    groups: dict[tuple[str, int, str], dict[Path, records.Record]] = defaultdict(dict)
    for path, record in found.items():
        if is_of(record, dataset, protocol):
            groups[record.board, record.metrics_version, digest(record.cell, 12)][path] = record
    return [
        CellResults(records.Cell(**next(iter(group.values())).cell), board, group)
        for (board, _, _), group in groups.items()
    ]


def by_board(cells: Iterable[CellResults]) -> list[list[CellResults]]:
    """Group cells by board and metrics version."""
    groups: dict[tuple[str, int], list[CellResults]] = defaultdict(list)
    for cell in cells:
        groups[cell.board_key].append(cell)
    return list(groups.values())


def finished(cells: Iterable[CellResults]) -> list[CellResults]:
    """Leave out results that failed, and cells that have no others."""
    kept = [(one, {path: record for path, record in one.found.items() if record.status == "ok"}) for one in cells]
    return [CellResults(one.cell, one.board, found) for one, found in kept if found]


def read_cells(paths: Iterable[Path], dataset: str | None = None, protocol: str | None = None) -> list[CellResults]:
    """Read records and group them, the newest of each seed and fold, by board and cell; parameters as `by_cell`."""
    newest = records.newest(records.read_readable(paths))
    return sorted(by_cell(newest, dataset, protocol), key=lambda one: (*one.board_key, one.cell.id))
