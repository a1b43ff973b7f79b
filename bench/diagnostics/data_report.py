"""What a dataset holds, in numbers, and whether its media open."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from protocols.dataset import Dataset, Finding
from protocols.progress import Progress

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
# How many offenders a finding names.
NAMED = 10


def overview(dataset: Dataset) -> dict[str, Any]:
    """Counts, period, quantiles, columns and card of a dataset, JSON-able.

    Returns
    -------
    dict
        `period` is None for sequences without times; `per_user` and `per_item` are interactions at the quantiles
        `QUANTILES` (items without interactions left out and counted apart).
    """
    log, items = dataset.interactions, dataset.items
    users, taken = (log[column].value_counts().to_numpy() for column in ("user_id", "item_id"))
    return {
        "name": dataset.name,
        "version": dataset.version,
        "simulated": dataset.simulated,
        "users": len(users),
        "items": len(items),
        "items_without_interactions": len(items) - len(taken),
        "interactions": len(log),
        "duplicates_dropped": dataset.duplicates,
        "repeats": int(log.duplicated(["user_id", "item_id"]).sum()),
        "density": len(log) / (len(users) * len(items)),
        "period": [utc(log["timestamp"].iloc[i]) for i in (0, -1)] if dataset.timed else None,
        "per_user": _quantiles(users),
        "per_item": _quantiles(taken),
        "columns": {column: int(items[column].notna().sum()) for column in items},
        "title_characters": _quantiles(items["title"].dropna().str.len().to_numpy()) if "title" in items else {},
        "card": list(dataset.card),
        "licence": dataset.licence,
        "citation": dataset.citation,
        "fingerprint": dataset.fingerprint,
    }


def check_media(dataset: Dataset, most: int, jobs: int, progress: Progress) -> list[Finding]:
    """Look for missing files, and for files of which no frame of the first second decodes.

    Parameters
    ----------
    dataset
        Its items may lack a column `video`: then there is nothing to find.
    most
        Open at most so many files, spread evenly over the items; 0: all.
    jobs
        Decoding processes.
    progress
        Where a long check shows how far it is.
    """
    if "video" not in dataset.items:
        return [Finding("videos", "none in this dataset")]
    from feature_extractors.media.frame_policy import parse
    from feature_extractors.media.pool import DecodePool
    from feature_extractors.media.result import Failure

    paths = {item: Path(video) for item, video in dataset.items["video"].items() if isinstance(video, str)}
    there = {item: path for item, path in paths.items() if path.is_file()}
    missing = [item for item in dataset.items.index if item not in there]
    chosen = list(there)
    if 0 < most < len(chosen):
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, most).astype(int)]
    broken: list[str] = []
    with DecodePool(jobs, parse("first:1s/1")) as pool, progress.task("open videos", len(chosen)) as task:
        for item, clip in zip(chosen, pool.map([there[item] for item in chosen], ahead=4 * jobs), strict=True):
            if isinstance(clip, Failure):
                broken.append(f"{item} ({there[item].name}: {clip.reason})")
            task.advance(note=f"{len(broken)} broken" if broken else "")
    n = len(dataset.items)
    return [
        Finding("videos there", _named(f"{n - len(missing):,}", missing, "missing"), f"{n:,}", not missing),
        Finding(
            "videos that open",
            _named(f"{len(chosen) - len(broken):,}", broken, "broken"),
            f"{len(chosen):,}",
            not broken,
        ),
    ]


def utc(milliseconds: int) -> str:
    """Write a timestamp as UTC text."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _named(count: str, offenders: list[str], what: str) -> str:
    if not offenders:
        return count
    more = f" and {len(offenders) - NAMED:,} more" if len(offenders) > NAMED else ""
    return f"{count}; {what}: {', '.join(map(str, offenders[:NAMED]))}{more}"


def _quantiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    found = np.quantile(values, QUANTILES, method="inverted_cdf")
    return {f"{q:.0%}": float(v) for q, v in zip(QUANTILES, found, strict=True)}
