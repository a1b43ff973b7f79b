"""Repair of a damaged feature space: the folder is renamed, never deleted; readable rows move to a new one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feature_extractors.store.lance import DamagedStoreError, FeatureStore
from protocols.errors import DataError


def set_aside(store: FeatureStore, cause: DamagedStoreError, say: Callable[[str], None]) -> None:
    """Rename the folder of a damaged space and put its readable rows into a new one.

    Rows are not checked here: reading compares each with its own checksum.

    Parameters
    ----------
    store
        The damaged space; the caller holds its lock.
    cause
        Error of reading it.
    say
        Called with a message: the damaged folder, its new name, the number of rows kept.

    Raises
    ------
    DataError
        If the folder cannot be renamed (an object store, no permission): names it and the remedy.
    """
    by_hand = DataError(
        f"the feature space {store.uri} is damaged and cannot be set aside ({cause})",
        remedy="move that folder away; only this feature space is extracted again, nothing else is lost",
    )
    if not store.local:
        raise by_hand
    tables = list(_readable(store.uri))
    kept = f"{store.uri}.damaged-{time.strftime('%Y%m%dT%H%M%S')}-{time.monotonic_ns() % 10**6:06d}"
    try:
        Path(store.uri).rename(kept)
    except OSError as error:
        raise by_hand from error
    rows = sum(table.num_rows for table in tables)
    if rows:
        import pyarrow as pa

        store.append(pa.concat_tables(tables))
    say(
        f"the feature space {store.uri} was damaged ({cause}). It is set aside as {Path(kept).name} (delete it when "
        f"you like); {rows} readable rows were kept, the rest is extracted again, other spaces are untouched"
    )


def _readable(uri: str) -> Iterator[Any]:
    """Yield every fragment that can be read, of the newest version whose manifest can."""
    import lance

    for version in (None, *_versions(Path(uri))):
        try:
            fragments = lance.dataset(uri, version=version).get_fragments()
        except BaseException as error:
            _pass_on(error)
            continue
        for fragment in fragments:
            try:
                yield fragment.to_table()
            except BaseException as error:
                _pass_on(error)
        return


def _versions(folder: Path) -> list[int]:
    """Return the versions by their manifests, newest first; newer Lance counts names down from 2**64 - 1."""
    numbers = [int(p.stem) for p in folder.glob("_versions/*.manifest") if re.fullmatch(r"\d+", p.stem)]
    return sorted((2**64 - 1 - n if n > 2**63 else n for n in numbers), reverse=True)


def _pass_on(error: BaseException) -> None:
    # A panic in Lance's Rust code arrives as a BaseException of its own; only ours may pass.
    if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
        raise error
