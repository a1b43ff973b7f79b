"""Verification of packs: every number in one is computed anew from the values of users that it holds.

A pack proves that its numbers agree with each other. That they were measured, only reruns can tell.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic_core import from_json

from bench import board_files, records, registry
from bench.boards import leaderboard
from bench.cells import board_fingerprint
from bench.publishing import pack_users, packs, submit, verify
from protocols.errors import BenchError
from protocols.evaluation import metrics, statistics
from protocols.hashing import digest
from protocols.wording import counted

#: Of numbers of boards that are computed on other machines.
ROUNDING = 1e-6


@dataclass
class Checked:
    """A pack with all that is wrong with it.

    Attributes
    ----------
    faults
        Each with the file, and the record, that it is about; none: the pack holds.
    notes
        What a reader has to know, which is no fault.
    boards
        As computed from its users; only of a pack without faults.
    entries
        Records and per-user frames by name.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    boards: list[leaderboard.Board] = field(default_factory=list)
    entries: submit.Entries = field(default_factory=dict)
    manifest: packs.Manifest | None = None

    @property
    def unproven(self) -> int:
        """Number of records without ranks of targets, whose metrics cannot be computed anew."""
        return sum(not pack_users.holds_ranks(users) for _, users in self.entries.values())


def check(path: Path, names: dict[str, str] | None = None) -> Checked:
    """Verify a pack: its files, every record with its users, the records of a board together, boards and tables.

    Boards are built only when nothing is wrong with what they are built from.

    Parameters
    ----------
    names
        Names of datasets by fingerprint, as others call them; those of this pack are added.

    Raises
    ------
    DataError
        If it is no pack.
    """
    contents = packs.read(path)
    manifest = packs.manifest_of(contents, path)
    found = Checked(manifest=manifest)
    found.faults += _files(contents, manifest)
    for name in sorted(name.removesuffix(".json") for name in contents if _is_record(name)):
        _one(name, contents, found)
    found.faults += list(_strange(contents, manifest, found.entries))
    described = {board["folder"]: board for board in manifest["boards"]}
    by_folder: dict[str, submit.Entries] = defaultdict(dict)
    for name, entry in found.entries.items():
        by_folder[packs.folder_of(entry[0])][name] = entry
    for folder, group in by_folder.items():
        found.faults += list(_together(group))
        found.faults += list(_keys(group, described[folder]["renamed"] if folder in described else ()))
    found.faults += list(_renamed_data(found.entries, {} if names is None else names))
    if not found.entries:
        found.faults.append(f"{packs.MANIFEST}: no record in this pack")
    if not found.faults:
        _boards(contents, described, found)
    found.notes += list(_notes(found))
    return found


def _is_record(name: str) -> bool:
    return name.endswith(".json") and name.rpartition("/")[2] not in (packs.MANIFEST, packs.BOARD)


def _files(contents: Mapping[str, bytes], manifest: packs.Manifest) -> Iterator[str]:
    listed = manifest["files"]
    for name in sorted(listed.keys() | (contents.keys() - {packs.MANIFEST})):
        if name not in contents:
            yield f"{name}: listed in {packs.MANIFEST}, not in the pack"
        elif name not in listed:
            yield f"{name}: in the pack, not listed in {packs.MANIFEST}"
        elif sha256(contents[name]).hexdigest() != listed[name]:
            yield f"{name}: changed after it was packed (sha256)"


def _one(name: str, contents: Mapping[str, bytes], found: Checked) -> None:
    """Read a record with its users, and compute its numbers anew."""
    try:
        record = packs.record_of(contents[f"{name}.json"])
        if record.status != "ok":
            raise ValueError("a result that failed")
        if record.dataset.get("name") != record.cell["dataset"]:
            known = f"dataset {record.dataset.get('name')!r} with fingerprint {record.dataset.get('fingerprint')}"
            raise ValueError(f"a cell of dataset {record.cell['dataset']!r}, and made from {known}")
        dataset = _plugin("dataset", record.cell["dataset"])
        if dataset and dataset.simulated != record.simulated:
            raise ValueError(f"simulated is {record.simulated}, that of {record.cell['dataset']} {dataset.simulated}")
        if packs.name_of(record) != name:
            raise ValueError(f"cell, seed, fold and key of this record belong into {packs.name_of(record)}.json")
    except ValueError as error:
        found.faults.append(f"{name}.json: {error}")
        return
    try:
        users = pack_users.from_csv(contents[f"{name}.csv"])
        found.entries[name] = record, users
        found.faults += [f"{name}.csv ({title(record)}): {one}" for one in pack_users.faults(record, users)]
    except KeyError:
        found.faults.append(f"{name}.json ({title(record)}): its users, {name}.csv, are not in the pack")
    except (ValueError, OverflowError, BenchError) as error:
        found.faults.append(f"{name}.csv ({title(record)}): {error}")


def _renamed_data(entries: submit.Entries, names: dict[str, str]) -> Iterator[str]:
    """Find data under a second name: the fingerprint is a hash of the name, too, so one of them is wrong."""
    for name, (record, _) in entries.items():
        called, content = record.cell["dataset"], str(record.dataset.get("fingerprint", ""))
        other = names.setdefault(content, called) if content else called
        if called != other:
            yield f"{name}.json ({title(record)}): dataset {called!r}, whose fingerprint {content} is that of {other!r}"


def published_names(root: Path) -> dict[str, str]:
    """Return the names of the datasets of published boards by fingerprint."""
    found = {}
    for file in sorted(root.rglob(board_files.RECORDS)):
        for record in map(records.read, board_files.below(file)[:1]):
            found[str(record.dataset.get("fingerprint", ""))] = record.cell["dataset"]
    return found


def title(record: records.Record) -> str:
    """Name a record for people."""
    return f"{records.Cell(**record.cell).label}, seed {record.seed}, fold {record.fold}"


def _strange(contents: Mapping[str, bytes], manifest: packs.Manifest, entries: submit.Entries) -> Iterator[str]:
    """Name files that belong to no record and no board."""
    folders = {packs.folder_of(record) for record, _ in entries.values()}
    known = {packs.MANIFEST, *(f"{folder}/{name}" for folder in folders for name in (packs.BOARD, packs.TABLE))}
    for name in sorted(contents.keys() - known):
        if name.removesuffix(".csv") not in entries and not _is_record(name):
            yield f"{name}: of no record and no board in this pack"
    for name in sorted(known - contents.keys()):
        yield f"{name}: missing"
    described = Counter(board["folder"] for board in manifest["boards"])
    for folder in sorted(name for name, count in described.items() if count > 1):
        yield f"{packs.MANIFEST}: board {folder} is described twice"
    for folder in sorted(folders ^ described.keys()):
        yield f"{packs.MANIFEST}: board {folder} is not both described and there"


def _together(group: submit.Entries) -> Iterator[str]:
    """Compare the records of a board: same data and users in a fold, each cell, seed and fold once, none missing."""
    first: dict[int, str] = {}
    seen: dict[Any, str] = {}
    for name, (record, users) in group.items():
        place = digest(record.cell), record.seed, record.fold
        if place in seen:
            yield f"{name}.json ({title(record)}): the same cell, seed and fold as {seen[place]}.json"
        seen[place] = name
        other = first.setdefault(record.fold, name)
        if other != name:
            yield from _differs(name, record, users, other, *group[other])
    prints: dict[int, Any] = {record.fold: record.fold_info.get("fingerprint") for record, _ in group.values()}
    for name, (record, _) in group.items():
        options = record.cell["options"].get("protocol", {})
        folds = [prints[fold] for fold in sorted(prints)]
        made = board_fingerprint(record.dataset.get("fingerprint", ""), record.cell["protocol"], options, folds)
        if made != record.board:
            yield f"{name}.json ({title(record)}): board {record.board} is not that of its dataset, protocol and folds"
            return  # all records of a board have the same
    yield from _copies(group)


def _differs(
    name: str, record: records.Record, users: pd.DataFrame, other: str, known: records.Record, theirs: pd.DataFrame
) -> Iterator[str]:
    """Compare a record with another one of the same fold."""
    for part, keys in (
        ("dataset", ("fingerprint", "version", "name")),
        ("fold_info", ("fingerprint", "border", "end", "folds", "users", "targets", "cold_targets")),
    ):
        mine, its = getattr(record, part), getattr(known, part)
        for key in keys:
            if mine.get(key) != its.get(key):
                said = f"{part}.{key} is {mine.get(key)!r}, {its.get(key)!r} in {other}.json"
                yield f"{name}.json ({title(record)}): {said}"
    if record.simulated != known.simulated:
        yield f"{name}.json ({title(record)}): simulated is {record.simulated}, not so in {other}.json"
    if set(users) != set(theirs):
        differ = ", ".join(sorted(map(str, set(users) ^ set(theirs))))
        yield f"{name}.csv ({title(record)}): columns other than those of {other}.csv: {differ}"
    for column in (column for column in pack_users.SHARED if column in users and column in theirs):
        mine, its = list(map(_plain, users[column])), list(map(_plain, theirs[column]))
        if mine != its:
            at = next((i for i, (a, b) in enumerate(zip(mine, its, strict=False)) if a != b), min(len(mine), len(its)))
            yield (
                f"{name}.csv ({title(record)}): line {at + 2}: {column!r} is not that of {other}.csv: "
                "all rows of a fold have the same users and targets"
            )
            return


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _copies(group: submit.Entries) -> Iterator[str]:
    """Find seeds of a cell that hold the values of another seed, user by user, in every fold.

    What neither trains nor draws is the same under all seeds.
    """
    by_seed: dict[str, dict[int, dict[int, str]]] = defaultdict(lambda: defaultdict(dict))
    for name, (record, users) in group.items():
        if not (_trains(record) or re.search(r"\b(random|shuffled)\b", record.cell["extractor"])):
            continue
        values = [records.column_digest(users[one]) for one in (*pack_users.VALUES, *pack_users.RANKS) if one in users]
        by_seed[name.rpartition("/")[0]][record.seed][record.fold] = digest(values)
    for cell, seeds in by_seed.items():
        known: dict[str, int] = {}
        for seed, folds in sorted(seeds.items()):
            other = known.setdefault(digest(sorted(folds.items())), seed)
            if other != seed:
                yield f"{cell}: seed {seed} holds the values of seed {other}, user by user"


def _plugin(kind: str, name: str) -> Any:
    """Return a plug-in class; None if it is not installed here."""
    try:
        return registry.load(kind, name)
    except BenchError:
        return None


def _trains(record: records.Record) -> bool:
    """Return True for rows that training makes, by the model where it is known here."""
    model = _plugin("model", record.cell["model"].partition(":")[0])
    return model.trains_epochs if model else bool(record.training.get("parameters"))


def _may_have_named_a_folder(options: Mapping[str, Any]) -> bool:
    """Return True if an option of an extractor is a text, of which only the last part may be left."""
    return any(
        _may_have_named_a_folder(value) if isinstance(value, dict) else name != "name" and isinstance(value, str)
        for name, value in options.items()
    )


def _keys(group: submit.Entries, renamed: Iterable[str]) -> Iterator[str]:
    """Derive the keys of records from all that they are a hash of."""
    for name, (record, _) in group.items():
        excused = records.Cell(**record.cell).id in set(renamed) and _may_have_named_a_folder(
            record.cell["options"].get("extractor", {})
        )
        if not excused and not submit.key_fits(record):
            yield (
                f"{name}.json ({title(record)}): key {record.key} is not that of its cell with all options, seed, "
                "board, features and fold"
            )


def _boards(contents: Mapping[str, bytes], described: Mapping[str, packs.BoardContent], found: Checked) -> None:
    """Build the boards, and compare numbers, tables and the description with what the pack says."""
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as scratch:
        root = Path(scratch)
        try:
            boards = submit.build(submit.lay_out(root, found.entries))
        except BenchError as error:
            found.faults.append(f"no board comes from these records: {error}")
            return
        for folder, board in boards.items():
            for row in board.unranked:
                found.faults.append(f"{folder}: {row.label} cannot be ranked: {row.reason}")
            found.faults += _numbers(f"{folder}/{packs.BOARD}", contents, board)
            found.faults += _table(f"{folder}/{packs.TABLE}", contents, board, root)
            group = [record for record, _ in found.entries.values() if packs.folder_of(record) == folder]
            made = submit.board_content(folder, board.id, group)
            for key, value in made.items():
                if described[folder][key] != value:  # type: ignore[literal-required]
                    found.faults.append(f"{packs.MANIFEST}: boards, {folder}: {key} is not what the records say")
        found.boards = leaderboard.most_rows_first(boards.values())


def _numbers(name: str, contents: Mapping[str, bytes], board: leaderboard.Board) -> Iterator[str]:
    try:
        said = from_json(contents[name], allow_inf_nan=False)
    except ValueError as error:
        yield f"{name}: {error}"
        return
    made = from_json(packs.as_bytes(board.as_json()))
    different = list(_differences(made, said))
    yield from (f"{name}: {one}" for one in different[:5])
    if len(different) > 5:
        yield f"{name}: {counted(len(different) - 5, 'more number')} differ"


def _differences(made: Any, said: Any, place: str = "") -> Iterator[str]:
    """Compare two JSON values, numbers up to `ROUNDING`."""
    if isinstance(made, dict) and isinstance(said, dict):
        for key in sorted(made.keys() | said.keys()):
            yield from _differences(made.get(key), said.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(made, list) and isinstance(said, list) and len(made) == len(said):
        for at, (mine, its) in enumerate(zip(made, said, strict=True)):
            yield from _differences(mine, its, f"{place}.{at}")
    elif all(isinstance(one, int | float) and not isinstance(one, bool) for one in (made, said)):
        if abs(made - said) > ROUNDING * max(1.0, abs(made)):
            yield f"{place} is {said}, the records give {made}"
    elif made != said or type(made) is not type(said):
        yield f"{place} is {str(said)[:100]!r}, the records give {str(made)[:100]!r}"


def _table(name: str, contents: Mapping[str, bytes], board: leaderboard.Board, root: Path) -> Iterator[str]:
    if contents[name] == submit.table_bytes(board):
        return
    file = root / "table.md"
    file.write_bytes(contents[name])
    try:
        problems = [(verdict.claim.line, one) for verdict in verify.verify(file, root) for one in verdict.problems]
        yield from (f"{name}, line {line}: {one}" for line, one in problems)
        if not problems:
            yield f"{name}: the text around the table is not what bench writes"
    except BenchError as error:
        yield f"{name}: {str(error).replace(str(file), 'the file')}"


def _notes(found: Checked) -> Iterator[str]:
    by_cell = {records.Cell(**record.cell).id: record for record, _ in found.entries.values()}
    if found.unproven:
        of = counted(len(found.entries), "record")
        yield f"metrics of {found.unproven} of {of} could not be recomputed: no ranks of targets"
    renamed = [cell for board in found.manifest["boards"] for cell in board["renamed"]] if found.manifest else []
    for cell in renamed:
        if cell in by_cell:
            label = records.Cell(**by_cell[cell].cell).label
            yield f"{label}: its keys cannot be derived: an option named a folder, or was changed"
    dirty = sum(bool(record.environment.get("dirty")) for record, _ in found.entries.values())
    if dirty:
        yield f"{counted(dirty, 'record')} made by code with changes that no commit holds"
    unaudited = sum(not record.audit for record, _ in found.entries.values())
    if unaudited:
        yield f"{counted(unaudited, 'record')} without leak checks"
    failed = sum(
        not one["ok"] and not one.get("by_construction") for record, _ in found.entries.values() for one in record.audit
    )
    if failed:
        yield counted(failed, "failed leak check")
    versions = Counter(record.metrics_version for record, _ in found.entries.values()) - Counter()
    if set(versions) - {metrics.VERSION}:
        yield f"metrics of version {', '.join(map(str, sorted(versions)))}; this software has {metrics.VERSION}"
    for board in found.boards:
        yield from _notes_of_board(board)


def _notes_of_board(board: leaderboard.Board) -> Iterator[str]:
    name = f"{board.facts['dataset']}, {board.facts['protocol']}"
    seeds = board.facts["seeds"]
    if len(seeds) < statistics.MIN_SEEDS:
        yield f"{name}: {counted(len(seeds), 'seed')}, no p and no mark under {statistics.MIN_SEEDS}"
    if seeds != list(range(1, len(seeds) + 1)):
        yield f"{name}: seeds {', '.join(map(str, seeds))} were chosen among others"
    models = {row.model for row in board.rows}
    if not {"pop"} & models or not any(row.extractor == leaderboard.BASELINE for row in board.rows):
        yield f"{name}: pop and a row without features (id) are not both there to compare with"
    if board.simulated:
        yield f"{name}: simulated data"
