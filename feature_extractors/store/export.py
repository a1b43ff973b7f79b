"""Export of a feature space to npy, parquet or a Hugging Face datasets folder, with a card of its provenance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.store import card
from feature_extractors.store.catalogue import Entry, Index, describe_chain, read_index, read_ok
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import UserError

FILE_BYTES = 500_000_000  # of values in one file of a datasets folder
ROW_GROUP = 1024


@dataclass(frozen=True)
class Exported:
    """Summary of an export.

    Attributes
    ----------
    folder
        Folder with the files.
    items
        Number of items with a feature.
    left_out
        Number of items without one or with a damaged row; `left_out.jsonl` names them.
    """

    folder: Path
    items: int
    left_out: int


def export(entry: Entry, folder: Path, form: str, about: Mapping[str, str] | None = None) -> Exported:
    """Write the features of all items that have one, in the order of their ids.

    Parameters
    ----------
    entry
        The space.
    folder
        New or empty; it appears when everything is in it.
    form
        `npy` (an array, and the ids as `NAME.ids.json`), `parquet` (one file), or `hf` (a Hugging Face datasets
        folder: README.md and data/train-*.parquet). `published:` and `published-texts:` read all three.
    about
        `summary`, `paper` and `licence` of the extractor, for the card.

    Raises
    ------
    UserError
        If the folder is not empty, no item has a feature, texts are to become an array, or layers do not fit float16.
    """
    writer = WRITERS.get(form)
    if writer is None:
        raise UserError(f"unknown format {form!r}: choose {', '.join(WRITERS)}")
    store = entry.store
    if form == "npy" and store.space.kind == "text":
        raise UserError(f"{entry.id} holds texts, which are no array", remedy="--format parquet or --format hf")
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder} is there already and not an empty folder", remedy="choose a new one with --to")
    index = read_index(store)
    if "ok" not in index.status:
        raise UserError(f"{entry.id}: no item has a feature, there is nothing to export")
    scratch = folder.with_name(f".{folder.name}.partial")  # a whole folder: `write_atomically` is for files
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        left_out = [
            {"item_id": item_id, "status": status, "reason": reason}
            for item_id, status, reason in zip(index.item_ids, index.status, index.reason, strict=True)
            if status != "ok"
        ]
        damaged: list[str] = []
        items = writer(store, scratch, index, damaged.append)
        left_out += [{"item_id": item_id, "status": "damaged", "reason": "checksum"} for item_id in damaged]
        _describe(entry, scratch, form, index, items, left_out, about or {})
        if folder.exists():
            folder.rmdir()
        scratch.replace(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(folder, items, len(left_out))


def _describe(
    entry: Entry,
    folder: Path,
    form: str,
    index: Index,
    items: int,
    left_out: list[dict[str, str]],
    about: Mapping[str, str],
) -> None:
    if left_out:
        lines = "".join(json.dumps(line) + "\n" for line in left_out)
        (folder / "left_out.jsonl").write_text(lines, encoding="utf-8")
    facts = card.Facts(
        chain=describe_chain(entry),
        form=form,
        items=items,
        counts=index.counts,
        versions=index.versions,
        seconds=float(index.seconds.mean()),
        exported=datetime.now(UTC).strftime("%Y-%m-%d"),
        about=about,
    )
    (folder / "README.md").write_text(card.render(facts), encoding="utf-8")


def _intact(store: FeatureStore, index: Index, damaged: Callable[[str], None]) -> Iterator[list[Row]]:
    """Yield the rows whose checksum is right; the ids of others go to `damaged`."""
    ids = iter([one for one, status in zip(index.item_ids, index.status, strict=True) if status == "ok"])
    for part in read_ok(store, index):
        rows = []
        for row in part:
            item_id = next(ids)
            if row is None:
                damaged(item_id)
                continue
            if row.scales is not None and (row.scales != 1).any():
                raise UserError(
                    f"{item_id!r} has states beyond float16, stored with a scale a layer, which no export format holds",
                    remedy="read them through protocols.features.Features.readout",
                )
            rows.append(row)
        if rows:
            yield rows


def _npy(store: FeatureStore, folder: Path, index: Index, damaged: Callable[[str], None]) -> int:
    name = "vectors" if store.space.kind == "vector" else "layers"
    ids: list[str] = []
    raw, shape, dtype = folder / "raw", (0,), np.dtype(np.float32)
    with raw.open("wb") as out:  # how many rows are intact is only known at the end
        for rows in _intact(store, index, damaged):
            values = np.stack([row.value for row in rows])  # type: ignore[misc]
            values.tofile(out)
            ids += [row.item_id for row in rows]
            shape, dtype = values.shape[1:], values.dtype
    source = np.memmap(raw, dtype=dtype, mode="r", shape=(len(ids), *shape))
    np.save(folder / f"{name}.npy", source, allow_pickle=False)
    del source
    raw.unlink()
    (folder / f"{name}.ids.json").write_text(json.dumps(ids), encoding="utf-8")
    return len(ids)


def _parquet(store: FeatureStore, folder: Path, index: Index, damaged: Callable[[str], None]) -> int:
    return sum(_write(folder / "features.parquet", store, _intact(store, index, damaged)))


def _hf(store: FeatureStore, folder: Path, index: Index, damaged: Callable[[str], None]) -> int:
    (folder / "data").mkdir()
    parts = _intact(store, index, damaged)
    counts: list[int] = []
    while True:
        # names say how many files there are, which is known when the last one is written
        count = sum(_write(folder / "data" / f"part-{len(counts)}", store, parts, FILE_BYTES))
        if not count:
            break
        counts.append(count)
    for at in range(len(counts)):
        (folder / "data" / f"part-{at}").replace(folder / "data" / f"train-{at:05d}-of-{len(counts):05d}.parquet")
    return sum(counts)


def _write(path: Path, store: FeatureStore, parts: Iterator[list[Row]], most: int | None = None) -> Iterator[int]:
    """Write rows to one parquet file until it holds `most` bytes of values; yield the number of rows of each part."""
    import pyarrow.parquet as pq

    writer, size = None, 0
    try:
        for rows in parts:
            table = _table(rows, store.space.kind)
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=ROW_GROUP)
            size += table.nbytes
            yield table.num_rows
            if most is not None and size >= most:
                return
    finally:
        if writer is not None:
            writer.close()


def _table(rows: list[Row], kind: str) -> Any:
    import pyarrow as pa

    ids = pa.array([row.item_id for row in rows], pa.string())
    if kind == "text":
        return pa.table({"item_id": ids, "text": pa.array([row.value for row in rows], pa.string())})
    values = np.stack([row.value for row in rows])  # type: ignore[misc]
    column: Any = pa.array(values.ravel())
    for length in values.shape[:0:-1]:
        column = pa.FixedSizeListArray.from_arrays(column, length)
    return pa.table({"item_id": ids, "vector" if kind == "vector" else "layers": column})


Writer = Callable[[FeatureStore, Path, Index, Callable[[str], None]], int]
WRITERS: dict[str, Writer] = {"npy": _npy, "parquet": _parquet, "hf": _hf}
