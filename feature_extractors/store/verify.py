"""Verification of a feature space: the checksum of every row, and agreement of kind and shape between rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.store.lance import DamagedStoreError, FeatureStore, Row
from protocols.features import STATUSES
from protocols.wording import counted

BATCH = 256  # rows that are read at a time


@dataclass
class Verification:
    """Result of a verification.

    Attributes
    ----------
    id
        Of the space.
    rows, items
        Rows on disk, and different item ids among them.
    repeated
        Rows replaced by a later one of the same item and content: batches that were computed twice. No damage.
    mended
        Damaged rows that a later intact one replaces.
    counts
        Items by status, of the rows that count.
    damaged
        Rows that fail their checksum or break a rule, with the reason; nothing reads them, the next extraction makes
        them again.
    problems
        Damage of the space as a whole.
    """

    id: str
    rows: int = 0
    items: int = 0
    repeated: int = 0
    mended: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing is damaged."""
        return not self.damaged and not self.problems


def verify(store: FeatureStore) -> Verification:
    """Read every row of a space and check it.

    Returns
    -------
    Verification
        Never raises for damage: a file of the dataset that cannot be read is a problem that it names.
    """
    found = Verification(store.space.id)
    latest: dict[tuple[str, str], tuple[str, str]] = {}  # (item, content) -> (status, why it is damaged)
    broken = 0
    shape: tuple[int, ...] | None = None
    for part in _parts(store, found):
        for at in range(part.num_rows):
            key = (part["item_id"][at].as_py(), part["content"][at].as_py())
            row = store.rows(part.slice(at, 1))[0]
            why, shape = _wrong(row, store.space.kind, shape)
            broken += bool(why)
            latest[key] = (part["status"][at].as_py(), why)
            found.rows += 1
    found.items = len({item_id for item_id, _ in latest})
    found.repeated = found.rows - len(latest)
    found.damaged = [f"item {item_id!r}: {why}" for (item_id, _), (_, why) in latest.items() if why]
    found.mended = broken - len(found.damaged)
    found.counts = dict(Counter(status for status, why in latest.values() if not why).most_common())
    return found


def _parts(store: FeatureStore, found: Verification) -> Iterator[Any]:
    """Yield tables of rows; fragments that cannot be read become problems."""
    try:
        fragments = store.fragments()
    except DamagedStoreError as error:
        found.problems.append(str(error))
        return
    if not fragments and store.local and any(Path(store.uri).glob("_versions/*")):
        found.problems.append(f"{store.uri}: there are versions, but none can be read")
    for number, fragment in enumerate(fragments):
        try:
            for batch in fragment.to_batches(batch_size=BATCH):
                import pyarrow as pa

                yield pa.Table.from_batches([batch])
        except BaseException as error:
            # a panic in Lance's Rust code arrives as a BaseException of its own
            if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit)):
                raise
            names = ", ".join(str(file.path) for file in fragment.data_files())
            text = " ".join(str(error).split())[:200]
            found.problems.append(f"fragment {number} ({names}), {counted(fragment.count_rows(), 'row')}: {text}")


def _wrong(row: Row | None, kind: str, shape: tuple[int, ...] | None) -> tuple[str, tuple[int, ...] | None]:
    """Return the fault of a row ("" if none), and the shape that later rows must have."""
    if row is None:
        return "the checksum does not fit", shape
    if row.status not in STATUSES:
        return f"unknown status {row.status!r}", shape
    if (row.value is not None) != (row.status == "ok"):
        return f"status {row.status!r} {'without' if row.value is None else 'with'} a value", shape
    if row.value is None:
        return "", shape
    if isinstance(row.value, str) != (kind == "text"):
        return f"a value of another kind than {kind!r}", shape
    if isinstance(row.value, str):
        return "", shape
    if shape is not None and row.value.shape != shape:
        return f"shape {row.value.shape}, others have {shape}", shape
    if not np.isfinite(row.value).all():
        return "a number that is not finite", shape
    return "", row.value.shape
