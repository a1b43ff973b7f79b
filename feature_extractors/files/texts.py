"""Reader of texts made elsewhere, one an item: csv, tsv, parquet, or a Hugging Face datasets folder.

Read with Arrow alone. A datasets folder is what `save_to_disk` leaves (one split or several), or a folder with parquet
files at any depth, as on the hub.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_extractors.files.ids import check_ids, regular_file
from feature_extractors.files.vectors import text_column
from protocols.errors import DataError, did_you_mean
from protocols.hashing import digest, file_digest

DELIMITERS = {".csv": ",", ".tsv": "\t"}
MAX_BLOCK = 1 << 26  # bytes of csv that a row must fit into


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts of a file with their item ids.

    Attributes
    ----------
    ids
        [N] raw ids, each once.
    texts
        [N]; "" where the file holds none.
    places
        File of the first row and number of rows, for each file.
    """

    ids: list[str]
    texts: list[str]
    places: list[tuple[Path, int]]

    def where(self, row: int) -> str:
        """Name the place of a row."""
        for path, count in self.places:
            if row < count:
                return f"{path}, row {row} from 0"
            row -= count
        return "no row"


def files(path: Path, split: str = "") -> list[Path]:
    """List the data files of a file or folder, in a stable order.

    Parameters
    ----------
    path
        A file, or a folder as described above.
    split
        Only this split of a folder; "": all.

    Raises
    ------
    DataError
        If there are none, or the split is not there.
    """
    if not path.is_dir():
        if split:
            raise DataError(f"{path} is one file and has no split {split!r}")
        regular_file(path)
        return [path]
    if (path / "dataset_dict.json").is_file():
        splits = _json(path / "dataset_dict.json").get("splits", [])
        if split and split not in splits:
            raise did_you_mean(f"split of {path}:", split, map(str, splits))
        return [file for name in splits if split in ("", name) for file in _saved(path / _plain(name, path))]
    if (path / "state.json").is_file():
        if split:
            raise DataError(f"{path} holds a single split: leave out split={split!r}")
        return _saved(path)
    found = sorted(
        p for p in path.rglob("*.parquet") if not any(part.startswith(".") for part in p.parts[len(path.parts) :])
    )
    if split:
        of_split = re.compile(rf"{re.escape(split)}([-.].*)?")
        found = [p for p in found if any(of_split.fullmatch(part) for part in p.relative_to(path).parts)]
    if not found:
        raise DataError(
            f"{path}: neither a saved dataset nor parquet files"
            + (f" of a split {split!r}" if split else "")
            + " there",
            remedy="give a csv or parquet file, or a folder made by datasets' save_to_disk or downloaded from the hub",
        )
    for file in found:
        regular_file(file)
    return found


def read_texts(path: Path, id_column: str, text: str, split: str = "") -> Texts:
    """Read ids and texts.

    Parameters
    ----------
    path, split
        As in `files`.
    id_column, text
        Names of the two columns.

    Raises
    ------
    DataError
        If a file cannot be read, a column is not there, or an id is empty or occurs twice; names file and row.
    """
    ids: list[str] = []
    texts: list[str] = []
    places = []
    for file in files(path, split):
        try:
            table = _table(file, id_column, text)
        except DataError:
            raise
        except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
            raise DataError(f"{file} cannot be read: {' '.join(str(error).split())[:300]}") from error
        ids += text_column(table[id_column], id_column, file)
        texts += [_text(one, at, text, file) for at, one in enumerate(table[text].to_pylist())]
        places.append((file, table.num_rows))
    found = Texts(ids, texts, places)
    check_ids(ids, found.where)
    return found


def content_key(path: Path, split: str = "") -> str:
    """Return the SHA-256 over the names and bytes of all data files; for a single file that of its bytes."""
    found = files(path, split)
    if found == [path]:
        return file_digest(path)
    return digest([[file.relative_to(path).as_posix(), file_digest(file)] for file in found], 64)


def _text(value: Any, row: int, column: str, file: Path) -> str:
    if value is not None and not isinstance(value, str):
        raise DataError(f"{file}, row {row} from 0: the column {column!r} holds {type(value).__name__}, not text")
    return value or ""


def _table(file: Path, id_column: str, text: str) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    columns = [id_column, text]
    kind = file.suffix.lower()
    if kind in DELIMITERS:
        parse = pc.ParseOptions(delimiter=DELIMITERS[kind], newlines_in_values=True)
        read = pc.ReadOptions(block_size=MAX_BLOCK)
        with pc.open_csv(file, read_options=pc.ReadOptions(block_size=MAX_BLOCK), parse_options=parse) as head:
            _check_columns(file, head.schema.names, columns)
        # as text: a number column would lose the zeros in front
        convert = pc.ConvertOptions(column_types={name: pa.string() for name in columns}, include_columns=columns)
        return pc.read_csv(file, read_options=read, parse_options=parse, convert_options=convert)
    if kind == ".parquet":
        _check_columns(file, pq.read_schema(file).names, columns)
        return pq.ParquetFile(file).read(columns=columns)
    if kind == ".arrow":
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
            _check_columns(file, stream.schema.names, columns)
            return stream.read_all().select(columns)
    raise DataError(f"{file}: unknown kind of file {kind!r}", remedy="use csv, tsv, parquet or a datasets folder")


def _check_columns(file: Path, names: list[str], wanted: list[str]) -> None:
    for name in wanted:
        if name not in names:
            problem = did_you_mean(f"column of {file}:", name, names)
            raise DataError(
                f"{problem} (columns: {', '.join(names)})",
                remedy="--set published-texts.id_column=NAME, --set published-texts.text_column=NAME",
            )


def _saved(folder: Path) -> list[Path]:
    """Return the data files that `state.json` lists: other .arrow files beside them are caches."""
    listed = _json(folder / "state.json").get("_data_files") or []
    found = [folder / _plain(entry.get("filename") if isinstance(entry, dict) else entry, folder) for entry in listed]
    if not found:
        raise DataError(f"{folder}: state.json lists no data files")
    for file in found:
        regular_file(file)
    return found


def _plain(name: Any, folder: Path) -> str:
    """Refuse names in a folder's own files that would lead out of it."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise DataError(f"{folder}: {name!r} is no plain name of a file in it")
    return name


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object")
    return found
