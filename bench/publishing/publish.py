"""Committed results: compact copies of local records; `bench.publishing.page` writes a page from them."""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from bench import records
from bench.boards.cell_results import is_of
from protocols.atomic_write import write_atomically
from protocols.errors import UserError

# Columns that boards are computed from; top lists stay local.
COLUMNS = ("user_id", *records.SHARED_COLUMNS)
#: File in the results folder of local runs with the key of the hashes of users.
SALT = ".publishing-key"


def publish(source: Path, target: Path, dataset: str | None = None, protocol: str | None = None) -> list[Path]:
    """Copy the newest record of every complete, ranked cell, with the per-user columns that boards need.

    Paths of this machine (of a checkpoint, say) are reduced to their last part. The users of all records of a cell go
    into one file, `records.CELL_FRAME`: they are mostly the same ones. Users of real data get keyed hashes for names,
    equal for all cells that are published from one results folder; the key (`SALT`) stays there and is not published.

    Parameters
    ----------
    source
        Results folder of local runs.
    target
        Results folder that is committed.
    dataset, protocol
        Only records of these plug-ins.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    UserError
        If there is nothing to copy, or two cells would become equal without the folders of this machine.
    """
    copies: list[tuple[Path, records.Record]] = []
    frames: dict[Path, dict[str, pd.DataFrame]] = defaultdict(dict)
    cells: dict[str, str] = {}
    found = records.read_all(source)
    for path, record in records.newest(found).items():
        if record.status != "ok" or not is_of(record, dataset, protocol):
            continue
        record.training = {k: v for k, v in record.training.items() if not k.endswith("curve")}
        original = records.Cell(**record.cell).id
        record.cell, record.passed = _without_folders(record.cell), _without_folders(record.passed)
        cell = records.Cell(**record.cell)
        if cells.setdefault(cell.id, original) != original:
            raise UserError(
                f"{cell.label}: two cells differ in nothing but the folders that their files lie in",
                remedy="give the folders names of their own, such as that of the checkpoint, and run the cells again",
            )
        folder = target / cell.folder
        users = records.checked_users(path, record)
        kept = users[[c for c in COLUMNS if c in users]].copy()
        if not record.simulated:
            kept["user_id"] = _pseudonyms(kept["user_id"], _salt(source))
        small = {c: "float32" for c in kept if kept[c].dtype == "float64"} | {
            c: "int32" for c in kept if kept[c].dtype == "int64"
        }
        record.users_digest = records.column_digests(kept) if record.users_digest else {}
        frames[folder][record.stem] = kept.astype(small).assign(fold=np.int32(record.fold))
        copies.append((folder, record))
    if not copies:
        raise UserError(f"no finished records in {source}")
    for folder, parts in frames.items():
        _write_frame(folder, parts)
    return [records.write(folder, record, compact=True) for folder, record in copies]


def _salt(source: Path) -> bytes:
    """Return the key of a results folder, made at the first call.

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


def _pseudonyms(users: pd.Series, salt: bytes) -> list[str]:
    """Hash names of users with a key: without it nobody can try names."""
    return [hashlib.blake2b(str(user).encode(), key=salt, digest_size=8).hexdigest() for user in users]


def _without_folders(value: Any) -> Any:
    """Replace every path by its last part, because its folder is of one machine only."""
    if isinstance(value, dict):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(one) for one in value]
    return PurePath(value).name if isinstance(value, str) and value.startswith(("/", "./", "../", "~")) else value


def _write_frame(folder: Path, parts: dict[str, pd.DataFrame]) -> None:
    """Write the frames of a cell's records into one file, with those of records already published."""
    known = {path.stem for path in records.find(folder)} - set(parts)
    whole = {**{stem: records.users(folder / f"{stem}.json") for stem in known}, **parts}
    frame = pd.concat([part.assign(record=stem) for stem, part in sorted(whole.items())], ignore_index=True)
    write_atomically(
        folder / records.CELL_FRAME,
        lambda part: frame.to_parquet(part, index=False, compression="zstd", compression_level=19),
    )
    for stem in parts:
        (folder / f"{stem}.parquet").unlink(missing_ok=True)  # as earlier versions wrote them
