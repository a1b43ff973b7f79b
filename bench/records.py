"""Run records: one JSON for each cell x seed x fold, with the per-user results in a parquet beside it.

Everything shown later (tables, checks, comparisons) is computed from these files, never from logs.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, NotRequired, get_type_hints

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from bench import record_schema
from protocols.atomic_write import write_atomically
from protocols.errors import BenchWarning, DataError
from protocols.hashing import digest

SCHEMA: Literal[1] = 1
#: Fields that older records do not have.
_LATER = ("metrics_version", "tuning", "users_digest")
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
#: Frame of all records of a published cell, and the columns that tell them apart.
CELL_FRAME, CELL_COLUMNS = "users.parquet", ("record", "fold")


class Skipped(BenchWarning):
    """Warning that a file is no run record and was left out."""

    exit_code = 1


@dataclass(frozen=True)
class Cell:
    """Row of a board with all options resolved, without seed and fold."""

    dataset: str
    """Name of the dataset plug-in."""
    protocol: str
    """Name of the protocol plug-in."""
    model: str
    """Recommender, as typed: `sasrec`, `pop`."""
    extractor: str
    """Extractor, as typed: `captions`, `shuffled:captions`; `-` for models that use none."""
    fusion: str
    """`id`, `replace`, `gate` ... (`bench list fusions`); with layers `gate/softmax` and the like; `-`: no features."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """All options of the four plug-ins as resolved, by `dataset`, `protocol`, `extractor`, `model`."""

    @property
    def label(self) -> str:
        """Short name for people: `sasrec captions gate`."""
        return " ".join(part for part in (self.model, self.extractor, self.fusion) if part != "-")

    @property
    def id(self) -> str:
        """Hash of everything in it."""
        return digest(asdict(self), 12)

    @property
    def folder(self) -> Path:
        """Folder of its records below the results folder; every part is safe as a folder name."""
        parts = (self.dataset, self.protocol, f"{self.label}-{self.id}")
        safe = ("".join(c if c.isalnum() or c in "._-" else "_" for c in part) for part in parts)
        return Path(*(part if part.strip(".") else part.replace(".", "_") or "_" for part in safe))


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
    def stem(self) -> str:
        """File name without ending: `s1-f0-KEY`."""
        return f"s{self.seed}-f{self.fold}-{self.key}"


def write(folder: Path, record: Record, users: pd.DataFrame | None = None, compact: bool = False) -> Path:
    """Write a record (and its per-user frame) so that a reader never sees half of it; `compact` on one line.

    The parquet is put in place first, then the JSON: a JSON on disk means both are complete.

    Returns
    -------
    Path
        Of the JSON.
    """
    if users is not None:
        frame = folder / f"{record.stem}.parquet"
        write_atomically(frame, lambda part: users.to_parquet(part, index=False))
        record.users_digest = column_digests(_table(frame, None))  # as every reader will see it
    path = folder / f"{record.stem}.json"
    form: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    content = _as_json(asdict(record))
    write_atomically(path, json.dumps(content, allow_nan=False, **form) + ("\n" if compact else ""))
    return path


def _as_json(value: Any) -> Any:
    """Return a value of JSON types: None for NaN and infinities, numbers for numpy's, text for other objects."""
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, np.generic | np.ndarray):
        return _as_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def read(path: Path) -> Record:
    """Read one record.

    Raises
    ------
    DataError
        If the file is not a record of a known record_schema.
    """
    try:
        return Record(**record_schema.parse(Path(path).read_bytes(), _schema()))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a run record: {error}", remedy="delete it and run the cell again") from error


@cache
def _schema() -> TypeAdapter[dict[str, Any]]:
    """Make the schema of a record's JSON: the fields of `Record`, each required that was there from the beginning."""
    hints = get_type_hints(Record, include_extras=True).items()
    fields: dict[str, Any] = {name: NotRequired[hint] if name in _LATER else hint for name, hint in hints}
    shape = TypedDict("RecordContent", fields)  # type: ignore[misc]
    closed: Any = with_config(record_schema.CLOSED)(shape)
    return TypeAdapter(closed)


def finished(path: Path) -> bool:
    """Return True for the path of a record whose run did not fail; False where there is none that can be read."""
    try:
        return path.exists() and read(path).status == "ok"
    except DataError:
        return False


def frame_of(path: Path) -> Path:
    """Return the file with the per-user frame of the record at `path`: its own, or that of a published cell."""
    own, shared = Path(path).with_suffix(".parquet"), Path(path).with_name(CELL_FRAME)
    return shared if shared.exists() and not own.exists() else own


def users(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Return the per-user frame that belongs to the record at `path`, or some of its columns.

    Raises
    ------
    DataError
        If the file is missing, or lacks a column.
    """
    file = frame_of(path)
    try:
        if file.name != CELL_FRAME:
            return _table(file, columns)
        found = _by_record(file, file.stat().st_mtime_ns, None if columns is None else tuple(columns))
        if Path(path).stem not in found:
            raise ValueError(f"holds nothing of {Path(path).stem}")
        return found[Path(path).stem].copy()
    except (OSError, ValueError) as error:  # pyarrow's errors of a broken file are ValueErrors
        raise DataError(f"{file}: {error}", remedy="delete the record beside it and run the cell again") from error


def _table(file: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Read a small file, or some of its columns; `pd.read_parquet` takes three times as long to begin."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        absent = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
        if absent:
            raise ValueError(f"has no column {absent[0]!r}")
        found = parquet.read(columns, use_threads=False).to_pandas(use_threads=False)
    return found if columns is None else found[list(columns)]


@lru_cache(maxsize=2)
def _by_record(file: Path, changed: int, columns: tuple[str, ...] | None) -> dict[str, pd.DataFrame]:
    """Read the frames of a published cell by the record's stem: all are asked for, one after the other."""
    whole = _table(file, None if columns is None else [*columns, "record"])
    frames = whole.groupby("record", sort=False)
    kept = [name for name in whole if name not in CELL_COLUMNS]
    return {str(stem): frame[kept].reset_index(drop=True) for stem, frame in frames}


def column_digests(users: pd.DataFrame) -> dict[str, str]:
    """Hash every column of a per-user frame."""
    return {str(name): column_digest(users[name]) for name in users}


def column_digest(values: pd.Series) -> str:
    """Hash a column in the order of its rows; numbers in the precision that published frames have.

    A frame keeps its hashes when it is compacted: all types of numbers give the same.
    """
    if values.dtype.kind in "fiub":
        numbers = values.to_numpy(np.float32, copy=True) + np.float32(0.0)  # no negative zero
        numbers[np.isnan(numbers)] = np.nan
        content = numbers.tobytes()
    else:
        lists = [one.tolist() if isinstance(one, np.ndarray) else one for one in values]
        content = json.dumps(lists, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def mismatch(record: Record, users: pd.DataFrame) -> str:
    """Say in which column a per-user frame, or some of its columns, is not that of a record; "" if in none.

    Hashes are compared where the record has them, and means of metrics in any case.
    """
    for name in users:
        known = record.users_digest.get(str(name))
        if known is not None and column_digest(users[name]) != known:
            return f"column {name!r} is not what the record was written with (hash)"
        mean = record.metrics.get(str(name))
        if mean is None or "@" not in str(name):
            continue
        found = float(users[name].mean())
        if not abs(found - mean) <= _ROUNDING:
            return f"the mean of {name!r} is {found:.6f}, the record says {mean:.6f}"
    counted = record.metrics.get("n_users")
    return f"{len(users)} users, the record says {counted}" if counted not in (None, len(users)) else ""


def checked_users(path: Path, record: Record, columns: list[str] | None = None) -> pd.DataFrame:
    """Return the per-user frame of a record, or some of its columns; see `users`.

    Raises
    ------
    DataError
        As `users`, or if the frame is not the record's, see `mismatch`.
    """
    found = users(path, columns)
    wrong = mismatch(record, found)
    if wrong:
        raise DataError(
            f"{frame_of(path)} does not match {Path(path).name}: {wrong}",
            remedy="one of the two was replaced or edited: delete both and run the cell again",
        )
    return found


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


def columns(path: Path) -> list[str]:
    """Return the columns of the per-user frame of the record at `path`, without reading it.

    Raises
    ------
    DataError
        If the file is missing or broken.
    """
    import pyarrow.parquet as pq

    file = frame_of(path)
    try:
        return [name for name in pq.read_schema(file).names if name not in CELL_COLUMNS]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: {error}", remedy="delete the record beside it and run the cell again") from error


def find(root: Path) -> Iterator[Path]:
    """Find all record files below a results folder, in a stable order."""
    return iter(sorted(p for p in Path(root).rglob("s*-f*-*.json") if not p.name.startswith(".")))


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
    """Keep one record for each cell, metrics version, seed and fold: the most recently written; in this order."""
    chosen: dict[tuple[str, int, int, int], Path] = {}
    for path in sorted(found, key=lambda p: p.stat().st_mtime):
        record = found[path]
        chosen[digest(record.cell, 12), record.metrics_version, record.seed, record.fold] = path
    return {path: found[path] for _, path in sorted(chosen.items())}
