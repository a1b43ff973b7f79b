"""Results of cells: the records of all seeds and folds, and their metrics of single users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import records, user_files
from protocols.errors import DataError
from protocols.evaluation import slices
from protocols.evaluation.row_values import Result, RowValues
from protocols.hashing import digest
from protocols.wording import counted

if TYPE_CHECKING:
    import pandas as pd


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

    def users(self, metrics: Sequence[str], optional: Sequence[str] = ()) -> dict[str, RowValues]:
        """Return the values of all users by metric; NaN for users without such a target.

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
        BenchError
            If a user is twice in a record.
        """
        results = []
        for path, record in self.found.items():
            columns = self._metrics(path, record, metrics, optional)
            results.append(Result(record.seed, record.fold, columns.pop("user_id"), columns))
        return RowValues.join(results, self.label)

    def _metrics(
        self, path: Path, record: records.Record, metrics: Sequence[str], optional: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Read user_id and metrics of one record, sorted by user."""
        wanted = tuple(metrics), tuple(optional)
        columns = records.checked_columns(path, record, lambda held: _choice(tuple(held), *wanted)[0])
        computed = _choice(tuple(columns), *wanted)[1]
        if computed:
            import pandas as pd

            targets = self.targets(path, pd.DataFrame(columns))
            columns |= {metric: targets.values(metric) for metric in computed}
        columns = {name: columns[name] for name in ("user_id", *metrics, *optional) if name in columns}
        for name in columns.keys() - {"user_id"}:
            if columns[name].dtype.kind not in "fiub":
                raise DataError(
                    f"{records.frame_of(path)}: column {name!r} holds {columns[name].dtype}",
                    remedy=f"delete the record beside it and {user_files.again(path)}",
                )
        return columns

    def values(self, metric: str) -> RowValues:
        """Return the values of one metric."""
        return self.users([metric])[metric]

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


@lru_cache
def _choice(held: tuple[str, ...], metrics: tuple[str, ...], optional: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Choose the columns to read of those that a record holds; and list the metrics to compute from them."""
    computed = [one for one in optional if slices.required(one) <= set(held)]
    computed = [one for one in (*metrics, *computed) if one not in held]
    ranks = [name for name in held if computed and name in slices.NEEDED and name != "user_id"]
    return [*(one for one in (*metrics, *optional) if one in held), *ranks], computed


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
