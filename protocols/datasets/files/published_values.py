"""Comparison of files and counts with published values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from protocols.dataset import Dataset, Finding
from protocols.hashing import file_digest


def compare_hash(path: Path, known: str = "") -> Finding:
    """Compare a file's SHA-256 with its published first digits ("": not published)."""
    found = file_digest(path)
    digits = max(16, len(known))
    return Finding(f"{path.name} sha256", found[:digits], known, found.startswith(known) if known else None)


def compare_counts(dataset: Dataset, known: Mapping[str, int]) -> list[Finding]:
    """Compare numbers of users, items and interactions (exact duplicates included) with the published ones."""
    log = dataset.interactions
    found = {
        "users": log["user_id"].nunique(),
        "items": log["item_id"].nunique(),
        "interactions": len(log) + dataset.duplicates,
    }
    return [Finding(what, f"{found[what]:,}", f"{n:,}", found[what] == n) for what, n in known.items()]
