"""Packs: finished boards in one zip file that others can check.

Of each board a pack holds, in a folder of its own, `CELL/s1-f0-KEY.json` and `.csv` (a record and its users), and what
is computed from them: `board.json` and `table.md`. `pack.json` lists all files with their hashes. There is nothing in
it that could be executed, and no format that expands by more than the zip says.
"""

from __future__ import annotations

import json
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict

from bench import board_files, record_schema, records
from bench.cells import safe_folder
from protocols import json_text
from protocols.atomic_write import write_atomically
from protocols.errors import DataError

MANIFEST, BOARD, TABLE = "pack.json", "board.json", "table.md"
#: Most bytes of a pack, of a file in it and of all of them unpacked, and most files.
PACK_BYTES, FILE_BYTES, ALL_BYTES, FILES = 256 * 2**20, 64 * 2**20, 1024 * 2**20, 100_000
_SPAN = (1980, 1, 1, 0, 0, 0)
_END = 22  # bytes of the end of a zip file without a comment
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError)


@with_config(record_schema.CLOSED)
class RowContent(TypedDict):
    """Row of a board, and the command that makes it again."""

    row: str
    cell: str
    records: int
    command: str


@with_config(record_schema.CLOSED)
class BoardContent(TypedDict):
    """Board in a pack.

    `id` is that of its table; `rows` and `environments` are taken from the records; `renamed` lists cells whose options
    named folders of the machine that made them: the key of their records cannot be derived from what is left.
    """

    folder: str
    id: str
    rows: list[RowContent]
    environments: list[dict[str, Any]]
    renamed: list[str]


@with_config(record_schema.CLOSED)
class Manifest(TypedDict):
    """Content of `pack.json`; `command`, `authors` and `note` are the words of who submits."""

    format: Literal[1]
    made_with: Annotated[str, Field(max_length=100)]
    command: Annotated[str, Field(max_length=10_000)]
    authors: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=1000)]
    note: Annotated[str, Field(max_length=10_000)]
    boards: list[BoardContent]
    files: dict[str, str]


_MANIFEST = TypeAdapter(Manifest)


def folder_of(record: records.Record) -> str:
    """Return the folder of the board of a record in a pack."""
    folder = board_files.board_folder(record.cell["dataset"], record.cell["protocol"], record.board)
    version = f"-v{record.metrics_version}" if record.metrics_version > 1 else ""
    return f"{folder.as_posix()}{version}"


def name_of(record: records.Record) -> str:
    """Return the place of a record in a pack, without ending."""
    return f"{folder_of(record)}/{records.Cell(**record.cell).folder.name}/{record.stem}"


def as_bytes(content: Any) -> bytes:
    """Write JSON as packs hold it."""
    return (json_text.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a pack: the same contents give the same bytes."""

    def fill(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(contents):
                info = zipfile.ZipInfo(name, _SPAN)
                info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, contents[name], compresslevel=9)

    write_atomically(path, fill)


def read(path: Path) -> dict[str, bytes]:
    """Read all files of a pack that may come from anybody.

    Raises
    ------
    DataError
        If it is no zip file, is larger than packs may be, or holds what no pack holds: names that lead elsewhere,
        links, folders, encrypted files, a name twice, bytes of no file.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise ValueError("not a file")
        if path.stat().st_size > PACK_BYTES:
            raise ValueError(f"larger than {PACK_BYTES} bytes")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check(members)
            _check_ends(path, members)
            return {member.filename: _content(archive, member) for member in members}
    except _BROKEN as error:
        raise DataError(f"{path} is no pack: {error}", remedy="bench submit -o FILE.zip writes one") from error


def _check(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > FILES or sum(member.file_size for member in members) > ALL_BYTES:
        raise ValueError(f"more than {FILES} files or {ALL_BYTES} bytes in it")
    seen = set()
    for member in members:
        name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
        if not name or name != safe_folder(*name.split("/")).as_posix() or name in seen:
            raise ValueError(f"the name {name!r} is not that of a file in a pack, or there twice")
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 1 or member.compress_type not in _COMPRESSIONS:
            raise ValueError(f"{name}: a link, encrypted, or packed otherwise than by deflate")
        if member.file_size > FILE_BYTES:
            raise ValueError(f"{name}: larger than {FILE_BYTES} bytes")
        seen.add(name)


def _check_ends(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse what programs that open zip files pass over: bytes before and after its files, comments."""
    with path.open("rb") as file:
        file.seek(-_END, 2)
        if not file.read().startswith(b"PK\5\6") or min((one.header_offset for one in members), default=0):
            raise ValueError("bytes in it belong to none of its files")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a file, never more than it says: the rest would fail its checksum."""
    with archive.open(member) as file:
        content = file.read(member.file_size)
        if len(content) != member.file_size or file.read(1):
            raise ValueError(f"{member.filename}: not as long as the pack says")
    return content


def manifest_of(contents: Mapping[str, bytes], where: Path) -> Manifest:
    """Read `pack.json`.

    Raises
    ------
    DataError
        If it is missing or not of this version.
    """
    try:
        return record_schema.validate(from_json(contents[MANIFEST], allow_inf_nan=False), _MANIFEST)
    except KeyError:
        raise DataError(f"{where} is no pack: it holds no {MANIFEST}") from None
    except ValueError as error:
        raise DataError(f"{where}, {MANIFEST}: {error}", remedy="pack the results again with bench submit") from error


def record_of(content: bytes) -> records.Record:
    """Read a record.

    Raises
    ------
    ValueError
        If it is none of a known schema, or has a key twice, of which readers see one or the other.
    """
    parsed = records.parsed(from_json(content, allow_inf_nan=False))
    json.loads(content, object_pairs_hook=_each_once)
    return parsed


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} twice")


def record_bytes(record: records.Record) -> bytes:
    """Write a record."""
    text = json.dumps(records.as_json(record), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()
