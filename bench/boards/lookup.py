"""Lookup of results by name: of one cell on one board, or of one of its records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bench import board_files, records
from bench.boards.cell_results import CellResults, by_cell, read_cells
from protocols.errors import UserError, nearest_names
from protocols.wording import counted

#: Runs that an error names.
NAMED = 8


def positions(name: str, labels: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Find the rows that a name fits; only those that it names in full where there are some.

    Parameters
    ----------
    name
        Model, extractor and fusion, or some of them that stand together: `sasrec/captions/gate`, `sasrec/captions`,
        `pop`, `id`; or a cell's id (six characters suffice), or the name of its folder, which ends in the id.
    labels, ids
        Of the rows.

    Examples
    --------
    >>> positions("captions", ["sasrec captions gate", "pop"], ["a1", "b2"])
    [0]
    """
    words = name.replace(" ", "/").split("/")
    full, partial = [], []
    for at, (label, cell) in enumerate(zip(labels, ids, strict=True)):
        parts = label.replace(" ", "/").split("/")  # a fusion may have two parts: gate/softmax
        if words == parts or name.endswith(f"-{cell}") or (len(name) >= 6 and cell.startswith(name)):
            full.append(at)
        elif any(parts[start : start + len(words)] == words for start in range(len(parts))):
            partial.append(at)
    return full or partial


def known(name: str, labels: Sequence[str]) -> str:
    """Say which rows there are, those like `name` first."""
    return nearest_names(name, (label.replace(" ", "/") for label in labels))


def select(name: str, among: Sequence[CellResults], *, required: bool = True) -> list[CellResults]:
    """Find the results that a user's words mean.

    Parameters
    ----------
    name
        Path of a record or of a cell's folder (all its seeds and folds are taken), or as in `positions`.
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
    if path.suffix == ".json" or _holds_records(path):
        return [_at(path)]
    labels = [one.label for one in among]
    found = positions(name, labels, [one.cell.id for one in among])
    if required and not found:
        raise UserError(f"no run {name!r} in the results; {known(name, labels)}", remedy="bench run makes one")
    return [among[at] for at in found]


def _holds_records(path: Path) -> bool:
    return path.suffix != ".json" and (path.is_dir() or board_files.file_of(path) is not None)


def _at(path: Path) -> CellResults:
    """Read the results that a record belongs to, or that a folder, or a cell in a board's file of records, holds."""
    if _holds_records(path):
        found = read_cells(records.find(path))
        if len(found) != 1:
            raise UserError(
                f"{path} holds records of {counted(len(found), 'row')}, on one or several boards",
                remedy="name one record in it",
            )
        return found[0]
    mine = by_cell({path: records.read(path)})[0]
    beside = read_cells(records.find(path.parent))
    return next(one for one in beside if (one.cell, one.board_key) == (mine.cell, mine.board_key))


def select_one(name: str, among: Sequence[CellResults], latest: bool = False) -> CellResults:
    """Find the results of one cell, see `select`.

    Parameters
    ----------
    latest
        Of several that a name fits, take the one that was written last.

    Raises
    ------
    UserError
        If the name fits none or several.
    """
    found = select(name, among)
    if latest:
        return max(found, key=_written)
    if len(found) > 1:
        remedy = (
            f"name one, as in {address(max(found, key=_written), among)}; --latest takes the last one written: this"
        )
        raise several(name, found, among, remedy)
    return found[0]


def _written(results: CellResults) -> int:
    """Return when the last record of a cell was written, in ns of its file system."""
    return max(records.source_of(path).stat().st_mtime_ns for path in results.found)


def address(run: CellResults, among: Sequence[CellResults]) -> str:
    """Return a name that fits one run alone, as a shell reads it: the id of its cell, or the path of a record."""
    alone = sum(one.cell.id == run.cell.id for one in among) < 2
    return run.cell.id if alone else shlex.quote(str(next(iter(run.found))))


def several(name: str, found: Sequence[CellResults], among: Sequence[CellResults], remedy: str) -> UserError:
    """Make the error of a name that fits several runs, naming the first with what tells them apart."""
    runs = [f"{one.label} ({address(one, among)}, {_data(one)}, board {one.board[:12]})" for one in found[:NAMED]]
    runs += [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return UserError(f"{name!r} fits {counted(len(found), 'run')}: {'; '.join(runs)}", remedy=remedy)


def _data(run: CellResults) -> str:
    """Name the data of a run with the options that their version tells."""
    return f"{run.cell.dataset} {run.any_record.dataset.get('version', '')}".strip()


def record_of(results: CellResults, name: str, seed: int | None = None, fold: int | None = None) -> Path:
    """Pick one record of a cell: the one that was named by its path, or of a seed and a fold.

    Parameters
    ----------
    name
        What the user typed for the cell.
    seed, fold
        None: the first seed; the last fold, which has most to fit on.

    Raises
    ------
    UserError
        If there is no such record.
    """
    if name.endswith(".json") and seed is None and fold is None:
        named = Path(name).resolve()
        return next(path for path in results.found if path.resolve() == named)
    finished = {(one.seed, one.fold): path for path, one in results.found.items() if one.status == "ok"}
    if not finished:
        raise UserError(f"{results.label}: no seed and fold has finished", remedy="run the cell again")
    seed = min(s for s, _ in finished) if seed is None else seed
    if fold is None:
        fold = max((f for s, f in finished if s == seed), default=max(f for _, f in finished))
    if (seed, fold) not in finished:
        there = ", ".join(f"seed {s} fold {f}" for s, f in sorted(finished))
        raise UserError(f"{results.label}: no seed {seed} fold {fold}; there are: {there}")
    return finished[seed, fold]


def choose(name_a: str, name_b: str, among: Sequence[CellResults]) -> tuple[CellResults, CellResults]:
    """Find the two sides of a comparison.

    Raises
    ------
    UserError
        If a name fits nothing or several cells, or the two are on different boards: then it says what differs.
    """
    first, second = select(name_a, among), select(name_b, among)
    pairs = [(a, b) for a in first for b in second if a.board_key == b.board_key and a is not b]
    if len(pairs) == 1:
        return pairs[0]
    for name, found in ((name_a, first), (name_b, second)) if pairs else ():
        if len(found) > 1:
            remedy = " ".join(address(one, among) for one in pairs[0])
            raise several(name, found, among, f"name both, as in {remedy}, which are on one board")
    a, b = first[0], second[0]
    if a.board_key == b.board_key:
        raise UserError(f"{name_a!r} and {name_b!r} are the same run")
    raise UserError(
        f"{a.label} and {b.label} stand on different boards and are never compared: "
        + "; ".join(board_differences(a.any_record, b.any_record)),
        remedy="run both with the same dataset and protocol",
    )


def board_differences(a: records.Record, b: records.Record) -> list[str]:
    """Say in which part two boards differ: metrics, dataset, protocol knobs, folds."""
    versions = [record.metrics_version for record in (a, b)]
    found = [f"metrics version {versions[0]} and {versions[1]}"] if versions[0] != versions[1] else []
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
