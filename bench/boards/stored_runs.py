"""Stored runs: a list of them with their failures, and their deletion."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

from bench import records
from bench.boards import lookup
from bench.boards.cell_results import CellResults, by_cell
from protocols import object_store
from protocols.errors import UserError


@dataclass(frozen=True)
class StoredRun:
    """Results of a row on a board.

    Attributes
    ----------
    run
        Id of its cell.
    row, dataset, protocol, board
        Its names, and the fingerprint of the board.
    seeds, folds
        Seeds that it has (none where the result does not depend on one), and folds of the board.
    results
        Finished results, one for each seed and fold.
    status
        `ok`; `failed` if the newest result of a seed and fold is a failure; `incomplete` if one is missing.
    reason
        Why it is not `ok`; else "".
    failures
        Seed, fold and whole error of each failed result.
    written
        Time (UTC) at which the last of its results was written.
    """

    run: str
    row: str
    dataset: str
    protocol: str
    board: str
    seeds: list[int]
    folds: int
    results: int
    status: str
    reason: str
    failures: list[dict[str, Any]]
    written: str

    @classmethod
    def of(cls, cell: CellResults) -> StoredRun:
        """Summarise the newest results of a cell."""
        reason, failed = cell.incomplete()
        failures = [
            {"seed": one.seed, "fold": one.fold, "error": one.error}
            for one in cell.found.values()
            if one.status != "ok"
        ]
        written = max(records.source_of(path).stat().st_mtime for path in cell.found)
        return cls(
            run=cell.cell.id,
            row=cell.label.replace(" ", "/"),
            dataset=cell.cell.dataset,
            protocol=cell.cell.protocol,
            board=cell.board,
            seeds=cell.seeds,
            folds=cell.folds,
            results=len(cell.found) - len(failures),
            status="failed" if failed else "incomplete" if reason else "ok",
            reason=reason,
            failures=failures,
            written=f"{datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M}",
        )

    def as_json(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)


def listing(cells: Iterable[CellResults], failed: bool = False) -> list[StoredRun]:
    """List runs, the last written first; with `failed` only those with a failure."""
    found = [StoredRun.of(cell) for cell in cells]
    kept = [one for one in found if one.status == "failed"] if failed else found
    return sorted(kept, key=lambda one: (one.written, one.row), reverse=True)


def text(runs: Sequence[StoredRun]) -> str:
    """Write a list of runs as a table, and below it the failures, each with the first line of its error."""
    from tabulate import tabulate

    head = ["run", "row", "dataset", "protocol", "seeds", "folds", "results", "status", "written (UTC)"]
    body = [
        [
            one.run,
            one.row,
            one.dataset,
            one.protocol,
            ", ".join(map(str, one.seeds)) or "-",
            one.folds,
            f"{one.results} of {one.folds * max(1, len(one.seeds))}",
            one.status,
            one.written,
        ]
        for one in runs
    ]
    lines = [tabulate(body, head, tablefmt="github", disable_numparse=True)]
    for one in runs:
        for failure in one.failures:
            where = f"{one.row} ({one.run}), seed {failure['seed']} fold {failure['fold']}"
            lines.append(f"\n{where}: {(failure['error'].splitlines() or ['no reason recorded'])[0]}")
    return "\n".join(lines)


def choose(
    found: Mapping[Path, records.Record], names: Iterable[str], failed: bool = False
) -> dict[Path, records.Record]:
    """Choose the records of some runs, older ones of the same seed and fold included.

    Parameters
    ----------
    found
        All records of a results folder.
    names
        A row (model/extractor/fusion, or a unique part of it) or a run's id each; none: every run.
    failed
        Only the results that failed.

    Raises
    ------
    UserError
        If a name fits no run, or several.
    """
    cells = by_cell(found)
    chosen = [cell for name in names for cell in _of_name(name, cells)] if names else cells
    return {
        path: record for cell in chosen for path, record in cell.found.items() if not failed or record.status != "ok"
    }


def _of_name(name: str, cells: Sequence[CellResults]) -> list[CellResults]:
    """Find the results of one cell, on every board that has some."""
    labels, ids = [one.label for one in cells], [one.cell.id for one in cells]
    among = [cells[at] for at in lookup.positions(name, labels, ids)]
    if not among:
        raise UserError(f"no run {name!r} in the results; {lookup.known(name, labels)}", remedy="bench runs")
    if len({one.cell.id for one in among}) > 1:
        raise lookup.several(name, among, among, f"name the run by its id, as in {among[0].cell.id}")
    return among


def delete(paths: Iterable[Path], root: Path, cache: Path) -> int:
    """Delete records with all that belongs to them; return the number of records.

    These are per-user files and findings of `bench explain` beside them, and kept weights and states of training in the
    cache. Folders that are then without a record are removed.

    Parameters
    ----------
    paths
        Of the records.
    root
        The results folder.
    cache
        The cache folder.

    Raises
    ------
    UserError
        If a file cannot be deleted, or a result is part of a published board.
    """
    paths = list(paths)
    shared = next((source for path in paths if (source := records.source_of(path)) != path), None)
    if shared is not None:
        raise UserError(
            f"{shared} is a published board: single results of it are not deleted",
            remedy="delete its folder, or publish the board again",
        )
    try:
        for path in paths:
            key = path.stem.split("-", 2)[2]
            (cache / "models" / f"{key}.safetensors").unlink(missing_ok=True)
            shutil.rmtree(cache / "checkpoints" / key, ignore_errors=True)
            for file in path.parent.glob(f"*{escape(path.stem)}.*"):
                object_store.remove(file)
            _tidy(path.parent, root)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be deleted: {error.strerror}") from error
    return len(paths)


def _tidy(folder: Path, root: Path) -> None:
    """Remove a cell's folder once it is without records, and the folders above it that are then empty."""
    if any(records.find(folder)):
        return
    for pattern in ("search-*.json", "search-*.lock", "s*-f*-*.parquet"):
        for file in folder.glob(pattern):
            object_store.remove(file)
    with suppress(OSError):  # something else lies there
        while folder != root and root in folder.parents:
            folder.rmdir()
            folder = folder.parent
