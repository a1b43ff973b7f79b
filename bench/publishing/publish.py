"""Committed results: copies of local records; `bench.publishing.page` writes a page from them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from bench import board_files, records
from bench.boards.cell_results import is_of
from protocols.atomic_write import write_atomically
from protocols.errors import UserError
from protocols.wording import counted

# Columns that boards are computed from; top lists stay local.
COLUMNS = ("user_id", *records.SHARED_COLUMNS)
#: File in the results folder of local runs with the key of the hashes of users.
SALT = ".publishing-key"

#: Folders of a file that an extractor is given by name: `published:/home/me/v.npy`, also wrapped or joined.
_ARGUMENT = re.compile(r"(?<=:)(?!//)(?:~|\.{1,2})?/(?:[^+]*/)?")

#: Records of a board with their per-user frames, by `_place`.
_Entries = dict[tuple[str, int, int, int], tuple[records.Record, pd.DataFrame]]


def publish(
    source: Path,
    target: Path,
    dataset: str | None = None,
    protocol: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Copy the newest record of every complete, ranked cell, with the per-user columns that boards need.

    Each board is two files, see `bench.board_files`; what they hold already is kept, the newest of each cell, seed and
    fold. A row takes the place of rows of its name with other options that are not published with it: defaults change.
    Paths of this machine (of a checkpoint, say) are reduced to their last part. Users of real data get keyed
    hashes for names, equal for all cells that are published from one results folder; the key (`SALT`) stays there and
    is not published. Names that are published already stay as they are.

    Parameters
    ----------
    source
        Results folder of local runs.
    target
        Results folder that is committed.
    dataset, protocol
        Only records of these plug-ins.
    say
        Called with a line for each row that was replaced.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    UserError
        If there is nothing to copy, or two cells would become equal without the folders of this machine.
    DataError
        If a record, published or to be, has another's per-user file.
    """
    fresh: dict[Path, _Entries] = defaultdict(dict)
    cells: dict[str, str] = {}
    for path, record in records.newest(records.read_all(source)).items():
        if record.status != "ok" or not is_of(record, dataset, protocol):
            continue
        original = records.Cell(**record.cell).id
        published = compact(path, record, COLUMNS, lambda names: pseudonyms(names, key_of(source)))
        cell = records.Cell(**record.cell)
        if cells.setdefault(cell.id, original) != original:
            raise UserError(
                f"{cell.label}: two cells differ in nothing but the folders that their files lie in",
                remedy="give the folders names of their own, such as that of the checkpoint, and run the cells again",
            )
        folder = target / board_files.board_folder(cell.dataset, cell.protocol, record.board)
        fresh[folder][_place(record)] = record, published
    if not fresh:
        raise UserError(f"no finished records in {source}")
    return [path for folder, entries in fresh.items() for path in _merge(folder, entries, say)]


def _place(record: records.Record) -> tuple[str, int, int, int]:
    """Sort key of a record in its board: a newer one takes the place of an older."""
    return records.Cell(**record.cell).folder.name, record.metrics_version, record.seed, record.fold


def compact(
    path: Path, record: records.Record, columns: Sequence[str], rename: Callable[[pd.Series], list[str]]
) -> pd.DataFrame:
    """Take out of a record what stays local; return its per-user frame as others may have it.

    Parameters
    ----------
    path
        Of the record.
    columns
        Those that are kept, as far as they are there.
    rename
        Makes other names of the users of real data; names that are published already stay as they are.

    Raises
    ------
    DataError
        If the per-user file is not the record's.
    """
    record.training = {k: v for k, v in record.training.items() if not k.endswith("curve")}
    # the rows of a whole grid, which every cell of it repeats
    record.passed = _without_folders({k: v for k, v in record.passed.items() if k != "rows"})
    record.cell = _without_folders(record.cell)
    users = records.checked_users(path, record)
    kept = users[[c for c in columns if c in users]].copy()
    if not record.simulated and records.frame_of(path).name != board_files.USERS:
        kept["user_id"] = rename(kept["user_id"])
    small = {c: "float32" for c in kept if kept[c].dtype == "float64"}
    small |= {c: "int32" for c in kept if kept[c].dtype == "int64"}
    kept = kept.astype(small)
    record.users_digest = records.column_digests(kept) if record.users_digest else {}
    return kept


def _merge(folder: Path, fresh: _Entries, say: Callable[[str], None]) -> list[Path]:
    """Write the files of a board with fresh records in the place of older ones; return the paths of the fresh."""
    file = folder / board_files.RECORDS
    known = {path: records.read(path) for path in records.find(file)} if file.exists() else {}
    outdated = _replaced(fresh, known.values(), say)
    kept = {
        _place(record): (record, records.checked_users(path, record))
        for path, record in known.items()
        if records.Cell(**record.cell).id not in outdated
    }
    paths = {place: file / place[0] / f"{entry[0].stem}.json" for place, entry in sorted({**kept, **fresh}.items())}
    whole = {path: fresh[place] if place in fresh else kept[place] for place, path in paths.items()}
    board_files.write(
        folder,
        {path: records.as_json(record) for path, (record, _) in whole.items()},
        {path: users for path, (_, users) in whole.items()},
    )
    return [paths[place] for place in sorted(fresh)]


def _replaced(fresh: _Entries, known: Iterable[records.Record], say: Callable[[str], None]) -> set[str]:
    """Find the cells of a board that have the name of a fresh one, and are not fresh themselves; say what they were."""
    new, old = _rows(record for record, _ in fresh.values()), _rows(known)
    outdated = set()
    for name, cells in new.items():
        for cell, found in old.get(name, {}).items():
            if cell not in cells:
                outdated.add(cell)
                now, then = next(iter(cells.values())), counted(len(found), "record")
                others = f"by {counted(len(now), 'record')}: {_differing(found[0].cell, now[0].cell)}"
                say(f"replaced on {found[0].cell['dataset']}: {name[0]} ({cell}), {then} {others}")
    return outdated


def _rows(found: Iterable[records.Record]) -> dict[tuple[str, int], dict[str, list[records.Record]]]:
    """Group records by the name of their row, with the version of its metrics, and by cell."""
    rows: dict[tuple[str, int], dict[str, list[records.Record]]] = defaultdict(lambda: defaultdict(list))
    for record in found:
        cell = records.Cell(**record.cell)
        rows[cell.label, record.metrics_version][cell.id].append(record)
    return rows


def _differing(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Write the options in which two cells of one name differ."""
    said = []
    for kind in sorted(old["options"].keys() | new["options"].keys()):
        then, now = old["options"].get(kind, {}), new["options"].get(kind, {})
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                said.append(f"{kind}.{name} {then.get(name, 'absent')!r} -> {now.get(name, 'absent')!r}")
    return ", ".join(said)


def key_of(source: Path) -> bytes:
    """Return the key of the users of a results folder, made at the first call.

    Raises
    ------
    UserError
        If it cannot be written, or is no key.
    """
    path = source / SALT
    try:
        if not path.exists():
            write_atomically(path, secrets.token_hex(32))
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the key of users' names, {path}: {error}", remedy="publish from a results folder that can be written"
        ) from error


def pseudonyms(users: pd.Series, key: bytes) -> list[str]:
    """Hash names of users with a key: without it nobody can try names."""
    return [hashlib.blake2b(str(user).encode(), key=key, digest_size=8).hexdigest() for user in users]


def _without_folders(value: Any) -> Any:
    """Replace every path by its last part, because its folder is of one machine only."""
    if isinstance(value, dict):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(one) for one in value]
    if not isinstance(value, str):
        return value
    return PurePath(value).name if value.startswith(("/", "./", "../", "~")) else _ARGUMENT.sub("", value)
