"""Ledger of a feature space: what the runs that filled it have taken, one small file each in `SPACE.usage`."""

from __future__ import annotations

import json
import re
import uuid
from functools import reduce
from operator import add
from typing import Any

from feature_extractors.store.lance import FeatureStore
from protocols import object_store
from protocols.resource_usage import Usage

ENTRIES = re.compile(r"\w+\.json")


class Entry:
    """Entry of one run in the ledger of a space.

    Parameters
    ----------
    store
        The space.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store, self._name = store, f"{uuid.uuid4().hex}.json"

    def write(self, used: Usage) -> None:
        """Set what the run has taken so far, `used.items` the rows that it has committed.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        text = json.dumps(used.as_json())
        if self._store.folder is not None:
            object_store.write(self._store.folder.with_suffix(".usage") / self._name, text)
            return
        files, folder = _place(self._store)
        path = f"{folder}/{self._name}"
        with files.open_output_stream(path) as out:
            out.write(text.encode())


def read(store: FeatureStore) -> Usage | None:
    """Add up the ledger of a space.

    Returns
    -------
    Usage
        Of all its runs; None if that is unknown: the space is older than its ledger or was copied without it, or an
        entry is damaged.
    """
    from pyarrow import fs

    files, folder = _place(store)
    found = []
    for entry in files.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        if not entry.path.endswith(".json"):
            continue
        try:
            with files.open_input_stream(entry.path) as content:
                found.append(Usage.from_json(json.loads(content.read())))
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return reduce(add, found) if found else None


def _place(store: FeatureStore) -> tuple[Any, str]:
    """Return the file system of a store, and the folder of the ledger there."""
    from pyarrow import fs

    if store.folder is None:
        return fs.FileSystem.from_uri(store.uri.removesuffix(".lance") + ".usage")
    place = store.folder.with_suffix(".usage")
    object_store.pull(place, ENTRIES)
    return fs.LocalFileSystem(), str(place)
