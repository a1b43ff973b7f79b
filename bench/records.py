"""Run records: one JSON for each cell x seed x fold, with the per-user results in a parquet beside it.

Those of a published board lie in two files, see `bench.board_files`; they are read alike.
Everything shown later (tables, checks, comparisons) is computed from these files, never from logs.
"""

from __future__ import annotations

import fnmatch
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, get_type_hints

import numpy as np
from pydantic import TypeAdapter, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict

from bench import board_files, record_schema, user_files
from bench.cells import SCHEMA as SCHEMA
from bench.cells import Cell as Cell
from bench.user_files import column_digest as column_digest
from bench.user_files import column_digests as column_digests
from bench.user_files import columns as columns
from bench.user_files import frame_of as frame_of
from bench.user_files import users as users
from protocols import json_text, object_store
from protocols.errors import BenchWarning, DataError
from protocols.hashing import digest
from protocols.wording import counted

if TYPE_CHECKING:
    import pandas as pd

#: Fields that older records do not have.
_LATER = ("metrics_version", "tuning", "users_digest", "usage")
#: Columns of per-user frames that published records keep beside the users: tables are told apart by their content.
SHARED_COLUMNS = (
    "n_targets",
    "n_warm",
    "hr@10",
    "ndcg@10",
    "ndcg@10_warm",
    "ndcg@10_cold",
    "ndcg@10_cold_among_cold",
)
# Means of a frame in single precision, as published, differ by less from those of the record.
_ROUNDING = 1e-5


class Skipped(BenchWarning):
    """Warning that a file is no run record and was left out."""

    exit_code = 1


@dataclass
class Record:
    """Result of one cell with one seed and fold."""

    cell: record_schema.CellFields
    """The `Cell` as a dict."""
    key: record_schema.Key
    """Hash of everything that decides the numbers: a record is reused only when it matches."""
    seed: record_schema.Seed
    """Of the recommender and of seeded controls."""
    fold: record_schema.Fold
    """0 is the earliest."""
    board: str
    """Fingerprint of dataset content, protocol with all knobs, folds and candidate policy: rows rank together only
    when it matches."""
    status: record_schema.Status = "ok"
    """`ok` or `failed`."""
    error: str = ""
    """Reason of a failure."""
    simulated: bool = False
    """The data are simulated; every table says so."""
    passed: dict[str, Any] = field(default_factory=dict)
    """Options as the user typed them."""
    dataset: record_schema.DatasetFields = field(default_factory=dict)
    """Name, version, fingerprint, licence, counts."""
    fold_info: record_schema.FoldFields = field(default_factory=dict)
    """Borders (UTC), counts of users, items, interactions, targets, cold share, dropped rows and why."""
    audit: list[record_schema.Verdict] = field(default_factory=list)
    """Verdicts of the leak checks that ran with this record."""
    features: record_schema.FeatureFields = field(default_factory=dict)
    """Feature space id and config, provenance (checkpoint, revision, licence), coverage, status counts, bytes and
    seconds per item."""
    training: record_schema.TrainingFields = field(default_factory=dict)
    """Epochs kept, where they were chosen, trainable parameters, learning curve."""
    metrics: dict[str, record_schema.Number | None] = field(default_factory=dict)
    """Means over the users of this fold, board metrics (coverage, popularity), and counts; None where undefined."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds by stage: search, refit, rank; and CPU seconds in all."""
    usage: record_schema.UsageFields = field(default_factory=dict)
    """Measured use of resources (`protocols.resource_usage.Usage`): `training` of this fit with search and ranking,
    `extraction` of the features of all items; without what is unknown."""
    peak_memory_mb: float = 0.0
    """Peak resident memory of the process that made it."""
    device: str = "cpu"
    """Torch device."""
    environment: record_schema.EnvironmentFields = field(default_factory=dict)
    """Git commit and whether the tree was dirty, package versions, Python, machine, threads."""
    tuning: dict[str, Any] = field(default_factory=dict)
    """Choice of the options of the model: `space`, `budget`, `chosen_on`, all `trials` (`bench.runs.tune`)."""
    users_digest: dict[str, str] = field(default_factory=dict)
    """Hash of each column of numbers and of the users in the per-user frame, see `column_digest`; empty in records that
    are older."""
    metrics_version: record_schema.Version = 1
    """`protocols.evaluation.metrics.VERSION` of the numbers; records older than this field hold version 1."""
    schema: Literal[1] = SCHEMA
    """Version of this layout."""

    @property
    def failure(self) -> str:
        """First line of the reason of a failure."""
        return next(iter(self.error.splitlines()), "no reason recorded")

    @property
    def stem(self) -> str:
        """File name without ending: `s1-f0-KEY`."""
        return f"s{self.seed}-f{self.fold}-{self.key}"


def write(folder: Path, record: Record, users: pd.DataFrame | None = None) -> Path:
    """Write a record (and its per-user frame) so that a reader never sees half of it.

    The parquet is put in place first, then the JSON: a JSON on disk means both are complete.

    Returns
    -------
    Path
        Of the JSON.
    """
    if users is not None:
        frame = folder / f"{record.stem}.parquet"
        # without what no reader needs: a small file takes a third less to open
        object_store.write(
            frame, lambda part: users.to_parquet(part, index=False, store_schema=False, write_statistics=False)
        )
        record.users_digest = column_digests(user_files.users(frame))  # as every reader will see it
    path = folder / f"{record.stem}.json"
    object_store.write(path, json_text.dumps(asdict(record), indent=1))
    return path


def as_json(record: Record) -> dict[str, Any]:
    """Return all fields as JSON has them, see `protocols.json_text`."""
    return json_text.plain(asdict(record))


def read(path: Path) -> Record:
    """Read one record.

    Raises
    ------
    DataError
        If the file, or the line of a board's file, is not a record of a known record_schema.
    """
    shared = board_files.file_of(path) is not None
    try:
        content = board_files.content(path) if shared else from_json(path.read_bytes(), allow_inf_nan=False)
        return parsed(content)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{board_files.place(path)} is not a run record: {error}", remedy=f"delete it and {user_files.again(path)}"
        ) from error


def parsed(content: Any) -> Record:
    """Make a record of parsed JSON.

    Raises
    ------
    ValueError
        If it does not fit the schema.
    """
    return Record(**record_schema.validate(content, _schema()))


@cache
def _schema() -> TypeAdapter[dict[str, Any]]:
    """Make the schema of a record's JSON: the fields of `Record`, each required that was there from the beginning."""
    hints = get_type_hints(Record, include_extras=True).items()
    fields: dict[str, Any] = {name: NotRequired[hint] if name in _LATER else hint for name, hint in hints}
    shape = TypedDict("RecordContent", fields)  # type: ignore[misc]
    closed: Any = with_config(record_schema.CLOSED)(shape)
    return TypeAdapter(closed)


def fetch(path: Path) -> None:
    """Renew the copy of a record that another machine may have written to an object store, and of its users."""
    for file in (frame_of(path), path):
        object_store.fetch(file)


def finished(path: Path) -> bool:
    """Return True for the path of a record whose run did not fail; False where there is none that can be read."""
    try:
        return path.exists() and read(path).status == "ok"
    except DataError:
        return False


def mismatch(
    record: Record, users: pd.DataFrame | Mapping[str, np.ndarray], digests: Mapping[str, str] | None = None
) -> str:
    """Say in which column a per-user frame, or some of its columns, is not that of a record; "" if in none.

    Hashes are compared where the record has them, and means of metrics in any case.

    Parameters
    ----------
    digests
        Of columns of which the hash is known.
    """
    n_users = 0
    for name in map(str, users):
        values = np.asarray(users[name])
        known, n_users = record.users_digest.get(name), len(values)
        if known is not None and ((digests or {}).get(name) or user_files.column_digest(values)) != known:
            return f"column {name!r} is not what the record was written with (hash)"
        mean = record.metrics.get(name)
        if mean is None or "@" not in name:
            continue
        found = _mean(values)
        if not abs(found - mean) <= _ROUNDING:
            return f"the mean of {name!r} is {found:.6f}, the record says {mean:.6f}"
    said = record.metrics.get("n_users")
    return f"{counted(n_users, 'user')}, the record says {said}" if said not in (None, n_users) else ""


def _mean(values: np.ndarray) -> float:
    """Average what is no NaN; NaN of what is no number, or of nothing."""
    known = values[~np.isnan(values)] if values.dtype.kind in "fiub" else values[:0]
    return float(known.mean()) if len(known) else float("nan")


def checked_users(path: Path, record: Record, columns: list[str] | None = None) -> pd.DataFrame:
    """Return the per-user frame of a record, or some of its columns; see `users`.

    Raises
    ------
    DataError
        As `users`, or if the frame is not the record's, see `mismatch`.
    """
    found = users(path, columns)
    _require_match(path, record, found)
    return found


def checked_columns(path: Path, record: Record, choose: user_files.Choice) -> dict[str, np.ndarray]:
    """Return user_id and the columns of a record's per-user frame that `choose` picks, sorted by user.

    Raises
    ------
    DataError
        As `checked_users`, or if a row has no user.
    """
    users, columns = user_files.arrays(path, choose)
    found = {"user_id": users.ids, **columns}
    _require_match(path, record, found, {"user_id": users.digest})
    return {name: values if name == "user_id" else values[users.order] for name, values in found.items()}


def _require_match(
    path: Path,
    record: Record,
    users: pd.DataFrame | Mapping[str, np.ndarray],
    digests: Mapping[str, str] | None = None,
) -> None:
    wrong = mismatch(record, users, digests)
    if wrong:
        raise DataError(
            f"{frame_of(path)} does not match {board_files.place(path)}: {wrong}",
            remedy=f"one of the two was replaced or edited: delete both and {user_files.again(path)}",
        )


def mismatches(found: Mapping[Path, Record]) -> list[str]:
    """List the per-user files that are not those of their records, or cannot be read."""
    lines = []
    for path, record in found.items():
        if record.status == "ok":
            try:
                checked_users(path, record)
            except DataError as error:
                lines.append(str(error))
    return lines


def find(root: Path) -> Iterator[Path]:
    """Find all records below a results folder, a board's file of records or a cell in one, in a stable order."""
    root = Path(root)
    if board_files.file_of(root) is not None:
        return iter(board_files.below(root))
    found: list[Path] = []
    for place, folders, files in os.walk(root):
        found += (Path(place, name) for name in fnmatch.filter([*folders, *files], "s*-f*-*.json"))
        if board_files.RECORDS in (*folders, *files):
            found += board_files.below(Path(place, board_files.RECORDS))
    return iter(sorted(found, key=lambda path: path.parts))


def source_of(path: Path) -> Path:
    """Return the file that holds a record: its own, or that of a published board."""
    return board_files.file_of(path) or path


def read_all(root: Path) -> dict[Path, Record]:
    """Read every record below a results folder by its path, in a stable order; see `read_readable`."""
    return read_readable(find(root))


def read_readable(paths: Iterable[Path]) -> dict[Path, Record]:
    """Read the records among some files.

    Warns
    -----
    Skipped
        For each file that is no record of a known schema: it is left out.
    """
    found = {}
    for path in paths:
        try:
            found[path] = read(path)
        except DataError as error:
            warnings.warn(f"left out: {error}", Skipped, stacklevel=2)
    return found


def checkpoints(record: Record) -> str:
    """Name the checkpoints in a record's provenance, each once, in the order of the chain."""
    names = record.features.get("provenance", {}).get("checkpoints", [])
    return " + ".join(dict.fromkeys(str(name) for name in names))


def newest(found: Mapping[Path, Record]) -> dict[Path, Record]:
    """Keep one record for each cell, board, metrics version, seed and fold: the most recently written; in this order.

    Places are no part of a cell: one cell on two logs, each in a file of its own, is on two boards.
    """
    chosen: dict[tuple[str, str, int, int, int], Path] = {}
    for path in sorted(found, key=lambda p: source_of(p).stat().st_mtime):
        record = found[path]
        chosen[digest(record.cell, 12), record.board, record.metrics_version, record.seed, record.fold] = path
    return {path: found[path] for _, path in sorted(chosen.items())}
