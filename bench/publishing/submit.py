"""Packs of finished boards: `bench submit`."""

from __future__ import annotations

import hashlib
import re
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from bench import board_files, records, tables
from bench.boards import leaderboard
from bench.cells import imported_key, result_key
from bench.publishing import pack_users, packs, publish
from feature_extractors import published
from protocols import json_text
from protocols.errors import DataError, UserError
from protocols.hashing import digest

#: Records and their per-user frames by name in a pack.
Entries = dict[str, tuple[records.Record, pd.DataFrame]]
#: Code versions that are tried to derive the key of a record, which does not hold its own.
_CODE_VERSIONS = range(100)


@dataclass(frozen=True)
class Packed:
    """A written pack.

    Attributes
    ----------
    boards
        As they stand in it.
    left_out
        Rows that no board ranks, each with the reason.
    """

    boards: list[leaderboard.Board]
    left_out: list[str]


def submit(
    source: Path,
    target: Path,
    command: str,
    dataset: str | None = None,
    protocol: str | None = None,
    authors: Sequence[str] = (),
    note: str = "",
) -> Packed:
    """Pack the boards of a results folder: all ranked rows, with users under hashed names and no paths of this machine.

    Parameters
    ----------
    source
        Results folder.
    target
        The pack.
    command
        The command line that does this.
    dataset, protocol
        Only boards of these plug-ins.
    authors, note
        Who submits, and what a reader has to know; kept in the pack.

    Raises
    ------
    UserError
        If there is no ranked row, or no record holds ranks of targets: nobody could verify its numbers.
    DataError
        If a record has another's per-user file, or the results contradict themselves: what `check` finds.
    """
    ranked, left_out = _ranked(source, dataset, protocol)
    if not ranked:
        raise leaderboard.nothing_in(source) if not left_out else UserError("no complete row", remedy=left_out[0])
    pack_key = _pack_key(source, ranked)
    entries: Entries = {}
    for path, record in ranked.items():
        frame = publish.compact(path, record, pack_users.COLUMNS, lambda names: publish.pseudonyms(names, pack_key()))
        if packs.name_of(record) in entries:
            raise UserError(
                f"{records.Cell(**record.cell).label}: two results differ in nothing but the folders of their files",
                remedy="give the folders names of their own and run the cells again",
            )
        entries[packs.name_of(record)] = record, frame
    if not any(pack_users.holds_ranks(frame) for _, frame in entries.values()):
        raise UserError(
            f"no record in {source} holds ranks of targets, without which nobody can verify its metrics",
            remedy="bench submit -o FILE.zip --results FOLDER, the folder of the runs: published copies hold no ranks",
        )
    boards, contents = contents_of(entries)
    said = {"command": command, "authors": list(authors), "note": note}
    manifest = manifest_of(contents, entries, boards, said)
    packs.write(target, {**contents, packs.MANIFEST: packs.as_bytes(manifest)})
    return Packed(list(boards.values()), left_out)


def _ranked(source: Path, dataset: str | None, protocol: str | None) -> tuple[dict[Path, records.Record], list[str]]:
    """Take the records of all ranked rows, and name the others."""
    found: dict[Path, records.Record] = {}
    left_out: list[str] = []
    for group in leaderboard.groups(source, dataset, protocol):
        wrong = records.mismatches(group)
        if wrong:
            raise DataError(wrong[0], remedy="delete both files and run the cell again")
        board = leaderboard.build(group)
        without = {row.cell for row in board.unranked}
        left_out += [f"{row.label}: {row.reason}" for row in board.unranked]
        seeds = set(board.facts["seeds"])
        for path, record in group.items():
            if records.Cell(**record.cell).id not in without and (not record.seed or record.seed in seeds):
                found[path] = record
    return found, left_out


def _pack_key(source: Path, ranked: Mapping[Path, records.Record]) -> Any:
    """Make the key of the hashes of users: one for each pack, from that of the results folder, made when it is used."""
    boards = leaderboard.table_id(ranked.values())
    return lambda: hashlib.blake2b(boards.encode(), key=publish.key_of(source), digest_size=32).digest()


def contents_of(entries: Mapping[str, tuple[records.Record, pd.DataFrame]]) -> tuple[dict, dict[str, bytes]]:
    """Build the boards of some records, by folder, and write everything but the manifest of a pack of them."""
    contents: dict[str, bytes] = {}
    for name, (record, frame) in entries.items():
        contents[f"{name}.json"] = packs.record_bytes(record)
        contents[f"{name}.csv"] = pack_users.as_csv(frame)
    with tempfile.TemporaryDirectory(prefix="bench-pack-") as scratch:
        boards = build(lay_out(Path(scratch), entries))
    for folder, board in boards.items():
        contents[f"{folder}/{packs.BOARD}"] = packs.as_bytes(board.as_json())
        contents[f"{folder}/{packs.TABLE}"] = table_bytes(board)
    return boards, contents


def table_bytes(board: leaderboard.Board) -> bytes:
    """Write the table of a board as packs hold it."""
    return f"{tables.render(board, 'md')}\n".encode()


def lay_out(root: Path, entries: Mapping[str, tuple[records.Record, pd.DataFrame]]) -> dict[str, Path]:
    """Write the records of a pack as those of a results folder; return the file of each board by its folder."""
    by_folder: dict[str, Entries] = defaultdict(dict)
    for name, entry in sorted(entries.items()):
        by_folder[packs.folder_of(entry[0])][name] = entry
    found = {}
    for folder, group in by_folder.items():
        file = root / folder / board_files.RECORDS
        paths = {name: file / "/".join(name.split("/")[-2:]) for name in group}
        paths = {name: path.with_name(f"{path.name}.json") for name, path in paths.items()}
        board_files.write(
            file.parent,
            {paths[name]: records.as_json(record) for name, (record, _) in group.items()},
            # boards are made without ranks
            {
                paths[name]: frame.drop(columns=list(pack_users.LISTS), errors="ignore")
                for name, (_, frame) in group.items()
            },
        )
        found[folder] = file
    return found


def build(files: Mapping[str, Path]) -> dict[str, leaderboard.Board]:
    """Build the board of each file of records."""
    return {folder: leaderboard.build(records.find(file)) for folder, file in files.items()}


def manifest_of(
    contents: Mapping[str, bytes],
    entries: Mapping[str, tuple[records.Record, pd.DataFrame]],
    boards: Mapping[str, leaderboard.Board],
    said: Mapping[str, Any],
) -> packs.Manifest:
    """Describe a pack."""
    by_folder: dict[str, list[records.Record]] = defaultdict(list)
    for record, _ in entries.values():
        by_folder[packs.folder_of(record)].append(record)
    described = [board_content(folder, boards[folder].id, by_folder[folder]) for folder in sorted(boards)]
    hashes = {name: sha256(content).hexdigest() for name, content in contents.items()}
    return {
        "format": 1,
        "made_with": f"video-rec-bench {version('video-rec-bench')}",
        "command": said["command"],
        "authors": said["authors"],
        "note": said["note"],
        "boards": described,
        "files": hashes,
    }


def board_content(folder: str, table: str, found: Iterable[records.Record]) -> packs.BoardContent:
    """Describe a board, of which the table has the id `table`, by its records."""
    by_cell: dict[str, list[records.Record]] = defaultdict(list)
    environments = {}
    for record in sorted(found, key=packs.name_of):
        by_cell[records.Cell(**record.cell).id].append(record)
        environments[digest(record.environment)] = record.environment
    rows: list[packs.RowContent] = [
        {"row": records.Cell(**group[0].cell).label, "cell": cell, "records": len(group), "command": command_of(group)}
        for cell, group in sorted(by_cell.items())
    ]
    return {
        "folder": folder,
        "id": table,
        "rows": rows,
        "environments": json_text.plain([environments[key] for key in sorted(environments)]),
        "renamed": [cell for cell, group in sorted(by_cell.items()) if not all(map(key_fits, group))],
    }


def key_fits(record: records.Record) -> bool:
    """Return True if the key of a record is that of its cell, seed, board, features and fold, at some code version."""
    cell, fold = records.Cell(**record.cell), str(record.fold_info.get("fingerprint", ""))
    if cell.model.startswith("imported:"):
        return record.key == imported_key(cell.id, record.seed, record.board, record.metrics_version, fold)
    features = record.features.get("digest")
    return any(
        record.key
        == result_key(cell.id, code, record.seed, record.board, features, record.metrics_version, "test", fold)
        for code in _CODE_VERSIONS
    )


def command_of(group: Sequence[records.Record]) -> str:
    """Write the command that makes a row again, with all options of dataset, protocol and model as resolved.

    Files of an extractor stand in it without their folders: it is run where they lie.
    """
    first = group[0]
    cell = records.Cell(**first.cell)
    if cell.model.startswith("imported:"):
        return f"bench import LISTS --name {shlex.quote(cell.model.partition(':')[2])} --dataset {cell.dataset}"
    named = {"dataset": cell.dataset, "protocol": cell.protocol, "model": cell.model}
    extractor = published.typed(cell.extractor, records.checkpoints(first).split(" + "))
    named |= {"extractor": extractor, "fusion": cell.fusion} if cell.extractor != "-" else {}
    seeds = sorted({record.seed for record in group} - {0})
    if seeds:
        named["seeds"] = ",".join(map(str, [*seeds, ""] if len(seeds) == 1 else seeds))
    passed, inside = first.passed.get("set"), re.findall(r"[\w-]+", cell.extractor)
    options = {name: one for name, one in (passed if isinstance(passed, dict) else {}).items() if name in inside}
    options = {name: dict(one) for name, one in options.items() if isinstance(one, dict)}
    for kind, name in (("dataset", cell.dataset), ("protocol", cell.protocol), ("model", cell.model.partition(":")[0])):
        options[name] = cell.options.get(kind, {})
    words = [word for name, value in named.items() for word in (f"--{name}", value)]
    for name, values in sorted(options.items()):
        given = {key: value for key, value in sorted(values.items()) if value is not None}  # None is their default
        words += [word for key, value in given.items() for word in ("--set", f"{name}.{key}={_value(value)}")]
    return shlex.join(["bench", "run", *words, "--no-controls"])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json_text.dumps(value)
