"""Committed results: compact copies of local records; `bench.page` writes a page from them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from bench import records
from protocols.errors import UserError

# What boards are computed from; top lists stay local.
COLUMNS = ("user_id", "n_targets", "n_warm", "hr@10", "ndcg@10", "ndcg@10_warm", "ndcg@10_cold")


def publish(source: Path, target: Path) -> list[Path]:
    """Copy the newest record of every complete, ranked cell, with the per-user columns that boards need.

    Parameters
    ----------
    source
        Results folder of local runs.
    target
        Results folder that is committed.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    UserError
        If there is nothing to copy.
    """
    copies = []
    found = records.read_all(source)
    for path in records.newest(found).values():
        record = found[path]
        if record.status != "ok":
            continue
        record.training = {k: v for k, v in record.training.items() if not k.endswith("curve")}
        folder = target / path.parent.relative_to(source)
        users = records.users(path)
        kept = users[[c for c in COLUMNS if c in users]].copy()
        small = {c: "float32" for c in kept if kept[c].dtype == "float64"} | {
            c: "int32" for c in kept if kept[c].dtype == "int64"
        }
        copy = records.write(folder, record, kept.astype(small))
        copy.write_text(json.dumps(asdict(record), separators=(",", ":"), default=str) + "\n", encoding="utf-8")
        copies.append(copy)
    if not copies:
        raise UserError(f"no finished records in {source}")
    return copies
