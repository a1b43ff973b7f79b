"""Content hashes and the seeded order of raw ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)


def digest(value: Any, length: int = 16) -> str:
    """Hash any JSON-able value; dict order does not matter.

    Parameters
    ----------
    value
        Anything `json.dumps` takes; other objects (paths, numpy scalars) go in as their `str`.
    length
        Number of hex digits kept.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()[:length]


def file_digest(path: Path, length: int = 64) -> str:
    """SHA-256 of a file's bytes, `length` hex digits of it."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:length]


def drawn(ids: Iterable[str], count: int, seed: int = 1) -> np.ndarray:
    """Draw some raw ids by a seeded hash: whether one is drawn depends on it and on those it competes with alone.

    Returns
    -------
    np.ndarray
        Bool [N]: `count` of them, or all where there are no more.
    """
    return seeded_order(ids, seed) < count


def seeded_order(ids: Iterable[str], seed: int) -> np.ndarray:
    """Rank raw ids by a seeded hash: the tie-break that is the same for every model.

    Returns
    -------
    np.ndarray
        int64 [N]; a permutation of 0..N-1. A lower number wins a tie.
    """
    import numpy as np

    keys = [hashlib.blake2b(f"{seed}\0{i}".encode(), digest_size=8).digest() for i in ids]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[order] = np.arange(len(keys))
    return ranks
