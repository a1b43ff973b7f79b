"""Reader of vectors made elsewhere: .npy, .npz, .safetensors or .parquet. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.files.ids import check_ids, read_ids, regular_file
from protocols.errors import DataError, did_you_mean
from protocols.wording import counted

CHUNK = 4096  # rows that are checked at a time


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of a file with their item ids.

    Attributes
    ----------
    path
        Of the file.
    ids
        [N] raw ids, each once.
    values
        [N, D] of a real dtype, finite as float32; a file of its own type where it can be mapped.
    left_out
        Numeric columns that are no dimensions: an index that pandas has written along.
    """

    path: Path
    ids: list[str]
    values: np.ndarray
    left_out: Sequence[str] = ()

    def where(self, row: int) -> str:
        """Name the place of a row."""
        return f"{self.path}, row {row} from 0"


def read_vectors(path: Path, ids: Path | None = None, id_column: str = "", vector_column: str = "") -> Vectors:
    """Read vectors and their ids.

    Parameters
    ----------
    path
        .npy [N, D]; .npz with `ids` and `vectors`, or the arrays named; .safetensors with a tensor `vectors` (or only
        one), ids as JSON list in the metadata entry `ids`; .parquet.
    ids
        File of ids; None: those inside the file, else `NAME.ids.txt` or `NAME.ids.json` beside it.
    id_column, vector_column
        Of a parquet file, or arrays of an .npz. Of a parquet file without a vector column: the only column of lists,
        else all numeric columns, in order, but for an index that pandas has written along.

    Raises
    ------
    DataError
        If the file cannot be read, ids repeat or are not as many as vectors, vectors differ in length or hold a number
        that is not finite; names file and row.
    """
    regular_file(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}", remedy=f"use one of {', '.join(_READERS)}")
    try:
        own, values = reader(path, id_column, vector_column)
    except DataError:
        raise
    except Exception as error:  # each library has classes of its own for damaged files
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    file = ids or (sidecar(path) if own is None else None)
    names = read_ids(file) if file is not None else own or []
    left_out = _index_columns(path, id_column) if path.suffix.lower() == ".parquet" and not vector_column else []
    found = Vectors(path, names, values, left_out)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise DataError(f"{path}: expected numbers of shape [items, dimensions], got {values.dtype} {values.shape}")
    if 0 in values.shape:
        raise DataError(f"{path}: there are no vectors in it (shape {values.shape})")
    if len(names) != len(values):
        raise DataError(f"{path}: {counted(len(values), 'vector')}, but {len(names)} ids in {file or path}")
    if file is None:
        check_ids(names, found.where)
    _check_finite(found)
    return found


def sidecar(path: Path) -> Path:
    """Return the ids file beside a file of vectors.

    Raises
    ------
    DataError
        If there is none, or both kinds.
    """
    beside = [path.with_suffix(f".ids.{kind}") for kind in ("txt", "json")]
    found = [file for file in beside if file.exists()]
    if len(found) == 1:
        return found[0]
    names = " and ".join(file.name for file in beside)
    raise DataError(
        f"{path}: it is not known which items the vectors belong to: {'both' if found else 'neither'} {names} "
        f"{'are' if found else 'is'} there",
        remedy="name the file of ids, one a line: --set published.ids=FILE",
    )


def _check_finite(found: Vectors) -> None:
    for start in range(0, len(found.values), CHUNK):
        with np.errstate(over="ignore"):
            part = np.asarray(found.values[start : start + CHUNK]).astype(np.float32)
        bad = ~np.isfinite(part)
        if bad.any():
            row, column = (int(at) for at in np.argwhere(bad)[0])
            value = found.values[start + row, column]
            raise DataError(
                f"{found.where(start + row)} (id {found.ids[start + row]!r}): dimension {column} is {value}",
                remedy="leave items without a vector out of the file",
            )


def _npy(path: Path, id_column: str, vector_column: str) -> tuple[list[str] | None, np.ndarray]:
    return None, np.load(path, mmap_mode="r", allow_pickle=False)


def _npz(path: Path, id_column: str, vector_column: str) -> tuple[list[str] | None, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        ids, vectors = id_column or "ids", vector_column or "vectors"
        for name in (ids, vectors):
            if name not in archive:
                raise DataError(
                    f"{path}: there is no array {name!r} in it, only {', '.join(archive) or 'nothing'}",
                    remedy="--set published.id_column=NAME and --set published.vector_column=NAME",
                )
        return _texts(archive[ids], path), archive[vectors]


def _texts(ids: np.ndarray, path: Path) -> list[str]:
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise DataError(f"{path}: ids must be a list of text or whole numbers, got {ids.dtype} {ids.shape}")
    return [one.decode() if isinstance(one, bytes) else str(one) for one in ids.tolist()]


def _safetensors(path: Path, id_column: str, vector_column: str) -> tuple[list[str] | None, np.ndarray]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        name = "vectors" if "vectors" in names or len(names) != 1 else names[0]
        if name not in names:
            raise DataError(f"{path}: there is no tensor 'vectors' in it, only {', '.join(names) or 'nothing'}")
        metadata = file.metadata() or {}
        # numpy has no bfloat16; only then is torch worth its import
        plain = file.get_slice(name).get_dtype() != "BF16"
        values = file.get_tensor(name) if plain else _bfloat16(path, name)
    ids = json.loads(metadata["ids"]) if "ids" in metadata else None
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, (str, int)) for one in ids)):
        raise DataError(f"{path}: the metadata entry 'ids' is not a JSON list of ids")
    return None if ids is None else [str(one) for one in ids], values


def _bfloat16(path: Path, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name).float().numpy()


def _parquet(path: Path, id_column: str, vector_column: str) -> tuple[list[str] | None, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    id_column = id_column or "item_id"
    for name in filter(None, (id_column, vector_column)):
        if name not in schema.names:
            raise did_you_mean(f"column of {path}:", name, schema.names)
    chosen = [vector_column] if vector_column else _vector_columns(path, schema, id_column)
    # not read_table(), which would take folder names like item_id=5 for columns
    table = pq.ParquetFile(path).read(columns=[id_column, *chosen])
    ids = text_column(table[id_column], id_column, path)
    for name in chosen:
        _no_nulls(table[name], name, path)
    columns = [table[name].combine_chunks() for name in chosen]
    if len(columns) == 1 and _is_list(columns[0].type):
        return ids, _stacked(columns[0], path)
    for name, column in zip(chosen, columns, strict=True):
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise DataError(f"{path}: the column {name!r} holds {column.type}, neither numbers nor lists of numbers")
    return ids, np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _vector_columns(path: Path, schema: Any, id_column: str) -> list[str]:
    others = [field for field in schema if field.name != id_column]
    lists = [field.name for field in others if _is_list(field.type)]
    if len(lists) == 1:
        return lists
    numbers = [name for name in _numeric(schema, id_column) if name not in _indices(schema)]
    if lists or not numbers:
        raise DataError(
            f"{path}: it is not clear which column holds the vectors: {', '.join(schema.names)}",
            remedy="--set published.vector_column=NAME",
        )
    return numbers


def _numeric(schema: Any, id_column: str) -> list[str]:
    import pyarrow as pa

    numeric = (field for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
    return [field.name for field in numeric if field.name != id_column]


def _indices(schema: Any) -> set[str]:
    """Return the columns that pandas calls the index of a frame; after a filter of rows it is written as one."""
    return {one for one in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(one, str)}


def _index_columns(path: Path, id_column: str) -> list[str]:
    """Return the numeric columns that are left out where all others are dimensions."""
    import pyarrow.parquet as pq

    schema, id_column = pq.read_schema(path), id_column or "item_id"
    if any(_is_list(field.type) for field in schema if field.name != id_column):
        return []
    return [name for name in _numeric(schema, id_column) if name in _indices(schema)]


def _stacked(column: Any, path: Path) -> np.ndarray:
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[0]) if len(lengths) else lengths
    if len(odd):
        raise DataError(
            f"{path}, row {odd[0]} from 0: the vector has {counted(lengths[odd[0]], 'dimension')}, "
            f"that of row 0 has {lengths[0]}"
        )
    flat = column.flatten()
    if flat.null_count:
        row = int(flat.is_null().to_numpy(zero_copy_only=False).argmax()) // int(lengths[0])
        raise DataError(f"{path}, row {row} from 0: a number of the vector is missing")
    return flat.to_numpy(zero_copy_only=False).reshape(len(lengths), -1)


def _no_nulls(column: Any, name: str, path: Path) -> None:
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(
            f"{path}, row {row} from 0: the column {name!r} is empty there",
            remedy="leave items without a vector out of the file",
        )


def text_column(column: Any, name: str, path: Path) -> list[str]:
    """Return ids of an Arrow column as text.

    Raises
    ------
    DataError
        If one is absent, or they are neither text nor whole numbers.
    """
    import pyarrow as pa

    _no_nulls(column, name, path)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise DataError(f"{path}: the column {name!r} holds {column.type}; ids are text or whole numbers")
    return [str(one) for one in column.to_pylist()]


Reader = Callable[[Path, str, str], tuple[list[str] | None, np.ndarray]]
_READERS: dict[str, Reader] = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}


def rows(found: Vectors, at: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield some rows as float32 [D]."""
    for row in at:
        yield np.asarray(found.values[row], dtype=np.float32)
