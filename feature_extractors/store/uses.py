"""Datasets that feature spaces were extracted for, noted beside them: no key depends on it."""

from __future__ import annotations

import json
from pathlib import Path

from feature_extractors.store import catalogue
from protocols.atomic_write import write_atomically


def note(root: Path | str, space: str, dataset: str) -> None:
    """Note that a space, and all that it was made from, was extracted for a dataset.

    Nothing is noted in a store behind an address or on a mount that cannot be written, nor of features that are in no
    store.
    """
    if "://" in str(root) or not (Path(root) / f"{space}.json").exists():
        return
    for name in catalogue.describe_chain(catalogue.Entry(Path(root), space, None)):
        known = of(Path(root), name)
        if dataset not in known:
            try:
                write_atomically(_file(Path(root), name), json.dumps(sorted([*known, dataset])))
            except OSError:
                return


def of(root: Path, space: str) -> list[str]:
    """List the datasets that a space was extracted for, as far as they are noted."""
    try:
        found = json.loads(_file(root, space).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _file(root: Path, space: str) -> Path:
    return root / f"{space}.datasets"
