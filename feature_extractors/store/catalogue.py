"""Catalogue of a feature store: its spaces with their descriptions, found by name, read as a whole, deleted."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from feature_extractors.store.lance import FeatureStore, Row
from protocols import object_store
from protocols.errors import DataError, UserError
from protocols.features import FeatureSpace

CHUNK_BYTES = 1 << 26  # of values that are held at a time
DAMAGED = re.compile(r"(?P<id>.+)\.lance\.damaged-.+")


@dataclass(frozen=True, eq=False)
class Entry:
    """One feature space on disk.

    Attributes
    ----------
    root
        Folder of the store.
    id
        Its name there.
    space
        As described beside it; None where the description is lost.
    """

    root: Path
    id: str
    space: FeatureSpace | None

    @property
    def folder(self) -> Path:
        """Folder of the Lance dataset."""
        return self.root / f"{self.id}.lance"

    @property
    def extractor(self) -> str:
        """Extractor and stage that made it."""
        return self.space.extractor if self.space else self.id.rpartition("-v")[0]

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return folder_bytes(self.folder)

    @property
    def written(self) -> datetime | None:
        """Time of the last commit (UTC)."""
        if object_store.uri_of(self.folder):
            return object_store.content(self.folder / "_versions")[1]
        times = [file.stat().st_mtime for file in self.folder.glob("_versions/*")]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    @property
    def store(self) -> FeatureStore:
        """The space, to be read.

        Raises
        ------
        DataError
            If its description is lost.
        """
        if self.space is None:
            raise DataError(
                f"the feature space {self.folder} has no readable description {self.id}.json beside it",
                remedy="run the extraction that made it again (the description is written anew), or delete the space",
            )
        return FeatureStore(self.root, self.space)


@dataclass(frozen=True, eq=False)
class Index:
    """Index of the valid rows of a space: of each item the row written last.

    Attributes
    ----------
    places
        [N] places among all rows.
    item_ids, status, reason, seconds
        [N], in the order of the item ids.
    rows
        All rows, with those that a later one replaces.
    versions
        Number of items with rows of more than one content: the clip changed, or two datasets share an id.
    """

    places: list[int]
    item_ids: list[str]
    status: list[str]
    reason: list[str]
    seconds: np.ndarray
    rows: int
    versions: int

    @property
    def counts(self) -> dict[str, int]:
        """Items by status, most frequent first."""
        return dict(sorted(Counter(self.status).items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def ok_share(self) -> float:
        """Share of items with a feature."""
        return self.status.count("ok") / len(self.status) if self.status else 0.0


def read_index(store: FeatureStore) -> Index:
    """Read the columns beside the values.

    Raises
    ------
    DamagedStoreError
        If the dataset cannot be read.
    """
    table = store.index()
    if table is None:
        return Index([], [], [], [], np.zeros(0, np.float32), 0, 0)
    columns = [table[name].to_pylist() for name in ("item_id", "content", "status", "reason")]
    last = {item_id: at for at, item_id in enumerate(columns[0])}
    contents = Counter(item_id for item_id, _ in set(zip(columns[0], columns[1], strict=True)))
    item_ids = sorted(last)
    places = [last[item_id] for item_id in item_ids]
    return Index(
        places=places,
        item_ids=item_ids,
        status=[columns[2][at] for at in places],
        reason=[columns[3][at] for at in places],
        seconds=table["seconds"].to_numpy()[places],
        rows=table.num_rows,
        versions=sum(count > 1 for count in contents.values()),
    )


def read_ok(store: FeatureStore, index: Index, chosen: np.ndarray | None = None) -> Iterator[list[Row | None]]:
    """Yield the rows with a feature, in the order of their ids, as many at a time as fit into `CHUNK_BYTES`.

    Parameters
    ----------
    store, index
        The space and its index.
    chosen
        Positions among the rows with a feature; None: all.
    """
    places = [place for place, status in zip(index.places, index.status, strict=True) if status == "ok"]
    wanted = places if chosen is None else [places[at] for at in chosen]
    first = store.take(wanted[:1])
    size = row_bytes(first[0]) if first else 1
    step = max(1, CHUNK_BYTES // max(size, 1024))
    for start in range(0, len(wanted), step):
        yield store.take(wanted[start : start + step])


def row_bytes(row: Row | None) -> int:
    """Return the bytes of a row's value."""
    if row is None or row.value is None:
        return 0
    return len(row.value.encode()) if isinstance(row.value, str) else row.value.nbytes


def find_all(root: Path) -> list[Entry]:
    """List the spaces of a store by name; a missing folder has none."""
    folders = object_store.folders(Path(root), ".lance")
    return [Entry(Path(root), folder.stem, _described(folder.with_suffix(".json"))[0]) for folder in folders]


def set_aside(root: Path) -> list[Path]:
    """List the damaged folders that were set aside and only take up space."""
    return sorted(path for path in Path(root).glob("*.lance.damaged-*") if DAMAGED.fullmatch(path.name))


def find(root: Path, name: str) -> Entry:
    """Find a space by its id or the unambiguous beginning of it.

    Raises
    ------
    UserError
        If nothing or more than one thing fits (did you mean ...).
    """
    entries = find_all(root)
    exact = [entry for entry in entries if entry.id == name]
    fitting = exact or [entry for entry in entries if name and entry.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    remedy = "`bench features list` shows them all"
    if fitting:
        raise UserError(
            f"{name!r} fits {len(fitting)} feature spaces: {', '.join(e.id for e in fitting[:5])}", remedy=remedy
        )
    known = [entry.id for entry in entries]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}?" if close else "known: " + (", ".join(known[:5]) or "none")
    raise UserError(f"unknown feature space {name!r}: {hint}", remedy=remedy)


def children(root: Path, space_id: str) -> list[str]:
    """Return the ids of the spaces that were made from one."""
    return [entry.id for entry in find_all(root) if entry.space and space_id in entry.space.config.get("parents", ())]


def delete(entry: Entry) -> int:
    """Delete a space with its description; return the bytes that are free now.

    Raises
    ------
    UserError
        If another run is filling it, or the folder is a link or cannot be removed.
    """
    held: list[FileLock] = []
    try:
        for path in [entry.root / f"{entry.id}.lock", *sorted(entry.root.glob(f"{_literal(entry.id)}.*of*.lock"))]:
            lock = FileLock(str(path))
            lock.acquire(timeout=0)
            held.append(lock)
        size = entry.bytes
        # the description last: a half deleted space can still be named and deleted
        object_store.remove_folder(entry.folder)
        with suppress(OSError):
            object_store.remove_folder(entry.folder.with_suffix(".usage"))
        (entry.root / f"{entry.id}.datasets").unlink(missing_ok=True)
        object_store.remove(entry.root / f"{entry.id}.json")
        return size
    except Timeout as error:
        raise UserError(f"another run is filling {entry.id}", remedy="delete it when that run has ended") from error
    except OSError as error:
        raise UserError(f"the feature space {entry.folder} cannot be deleted: {error}") from error
    finally:
        for lock in held:
            lock.release()


def diagnosed(store: FeatureStore, index: Index) -> list[Any]:
    """Diagnose a sample of a space; see `diagnostics.diagnose_space`."""
    from feature_extractors.store import diagnostics

    count = index.status.count("ok")
    if store.space.kind == "text" or count == 0:
        return []
    first = next(read_ok(store, index, np.array([0])))
    chosen = diagnostics.sample(count, row_bytes(first[0]))
    rows = [row for part in read_ok(store, index, chosen) for row in part if row is not None]
    values = [row.value for row in rows if isinstance(row.value, np.ndarray)]
    return diagnostics.diagnose_space(store.space, np.stack(values)) if values else []


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, or of all objects in the place that it stands for."""
    if object_store.uri_of(folder):
        return object_store.content(folder)[0]
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def describe_chain(entry: Entry) -> dict[str, dict[str, Any]]:
    """Return the descriptions of a space and of everything it was made from, itself first; {} for one that is lost."""
    chain: dict[str, dict[str, Any]] = {}
    todo = [entry.id]
    while todo:
        name = todo.pop(0)
        space, content = _described(entry.root / f"{name}.json")
        chain[name] = content if space else {}
        todo += [parent for parent in (space.config.get("parents", ()) if space else ()) if parent not in chain]
    return chain


def _described(path: Path) -> tuple[FeatureSpace | None, dict[str, Any]]:
    """Read a description; None unless it describes the space that the file is named after."""
    try:
        object_store.fetch(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        space = FeatureSpace(*(found[name] for name in ("extractor", "version", "kind", "config", "provenance")))
        return (space, found) if space.id == path.stem else (None, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, {}


def _literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
