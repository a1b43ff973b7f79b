"""Summary of a dataset: counts, period, quantiles, card; and a check that its videos decode."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.media.frame_policy import parse
from feature_extractors.media.pool import DecodePool
from feature_extractors.media.remote_file import Source, look_up, name_of, source_of
from feature_extractors.media.result import Failure
from protocols.dataset import Dataset, DatasetPlugin, Finding
from protocols.errors import DataError
from protocols.progress import Progress
from protocols.splitting.presets import Rolling7d
from protocols.wording import counted

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
# Offenders named in a finding.
NAMED = 10


def overview(dataset: Dataset) -> dict[str, Any]:
    """Summarise counts, period, quantiles, columns and card of a dataset; JSON-able.

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
        "period": [_utc(log["timestamp"].iloc[i]) for i in (0, -1)] if dataset.timed else None,
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
        Shows how many videos were opened.
    """
    if "video" not in dataset.items:
        return [Finding("videos", "none in this dataset")]
    named = {str(item): source_of(video) for item, video in dataset.items["video"].items() if isinstance(video, str)}
    there = {item: one for item, one in named.items() if isinstance(one, str) or one.is_file()}
    missing = [item for item in dataset.items.index if item not in there]
    chosen = list(there)
    if 0 < most < len(chosen):
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, most).astype(int)]
    broken: list[str] = []

    def note(item: str, clip: object) -> None:
        if isinstance(clip, Failure):
            broken.append(f"{item} ({name_of(there[item])}: {clip.reason})")

    with DecodePool(jobs, parse("first:1s/1")) as pool, progress.task("open videos", len(chosen)) as task:
        files: dict[str, Source] = {}
        for item in chosen:
            found = look_up(one) if isinstance(one := there[item], str) else one
            note(item, found)
            files |= {} if isinstance(found, Failure) else {item: found}
        for item, clip in zip(files, pool.map(list(files.values()), ahead=4 * jobs), strict=True):
            note(item, clip)
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


def head(dataset: Dataset) -> list[str]:
    """Write name, counts, period and fingerprint, a line each."""
    log = dataset.interactions
    if dataset.timed:
        period = f"from {_utc(log['timestamp'].iloc[0])} to {_utc(log['timestamp'].iloc[-1])} UTC"
    else:
        period = "sequences without times"
    return [
        f"{dataset.name} {dataset.version}{' (simulated)' if dataset.simulated else ''}",
        f"{counted(len(dataset.indexed_log.users), 'user')}, {counted(len(dataset.items), 'item')}, "
        f"{counted(len(log), 'interaction')}",
        f"{period}; {counted(dataset.duplicates, 'exact duplicate')} dropped",
        f"fingerprint {dataset.fingerprint}",
    ]


def licence(dataset: Dataset) -> list[str]:
    """Write licence and citation."""
    return [f"licence: {dataset.licence}", *([f"cite: {dataset.citation}"] if dataset.citation else [])]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Write findings with their verdict, a line each."""
    verdicts = {True: "ok  ", False: "OFF ", None: "    "}
    return [
        f"{verdicts[f.ok]} {f.what}: {f.found}" + (f", expected {f.expected}" if f.expected else "") for f in findings
    ]


def validation_lines(dataset: Dataset) -> list[str]:
    """Write a line on a log too short for the default protocol, or for its validation window."""
    if not dataset.timed:
        return []
    protocol = Rolling7d()
    try:
        folds = protocol.split(dataset)
    except DataError as error:
        return [f"{protocol.name}: {error}"]
    return [
        f"{protocol.name}, fold {fold.index}: {fold.info['validation_note']}"
        for fold in folds
        if "validation_note" in fold.info
    ]


def without_video(dataset: Dataset) -> list[str]:
    """Count and name the items that have no video, and those whose file is absent, in a dataset that has videos."""
    videos = dataset.items["video"] if "video" in dataset.items else dataset.items.index[:0].to_series()
    unnamed = list(videos.index[videos.isna()])
    named = ((item, source_of(video)) for item, video in videos.dropna().items())
    absent = [f"{item} ({one.name})" for item, one in named if isinstance(one, Path) and not one.is_file()]
    lines = []
    for items, what in ((unnamed, "have no video"), (absent, "name a video file that is not there")):
        first = ", ".join(items[:NAMED]) + (", ..." if len(items) > NAMED else "")
        lines += [f"{len(items)} of {counted(len(videos), 'item')} {what}: {first}"] if items else []
    return lines


def text(dataset: Dataset) -> str:
    """Write what `overview` counts, line by line."""
    found = overview(dataset)
    lines = [
        *head(dataset),
        f"{counted(found['items_without_interactions'], 'item')} without interactions, "
        f"{counted(found['repeats'], 'repeated (user, item) pair')}, "
        f"density {found['density']:.2e}",
    ]
    for key, what in (
        ("per_user", "interactions of a user"),
        ("per_item", "interactions of an item"),
        ("title_characters", "characters of a title"),
    ):
        if found[key]:
            lines.append(f"{what}: " + ", ".join(f"{q} {v:g}" for q, v in found[key].items()))
    lines += [
        f"column {column}: {count} of {counted(found['items'], 'item')}" for column, count in found["columns"].items()
    ]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in dataset.card), *licence(dataset)])


def prepare_command(own_name: str, plugin: DatasetPlugin, given: Mapping[str, Any]) -> str:
    """Write the command that prepares a dataset under a name of its own, from any folder."""
    places = {key: given[key] for key in given if key in plugin.places}
    absolute = {key: [str(Path(one).expanduser().absolute()) for one in _listed(v)] for key, v in places.items()}
    return shlex.join(["bench", "data", "prepare", plugin.name, "--name", own_name, *_options({**given, **absolute})])


def next_commands(dataset: Dataset, name: str, given: Mapping[str, Any], cache: str | None = None) -> list[str]:
    """Write the commands that follow `bench data prepare`: check the data, run, show the board.

    Parameters
    ----------
    name, given
        Of the dataset's plug-in: its name, and the options that were set.
    cache
        Value of --cache, where it was given.
    """
    run_words = [w for key, value in given.items() for w in ("--set", f"{name}.{key}={_typed(value)}")]
    kinds = (("video", "captions"), ("title", "titles"))
    extractor = next((e for c, e in kinds if c in dataset.items and dataset.items[c].notna().any()), "id")
    where = ["--cache", cache] if cache else []
    model = ["--extractor", extractor, "--model", "sasrec"]
    lines = (
        ["bench", "data", "check", name, *_options(given), *where],
        ["bench", "run", "--dataset", name, *run_words, *_protocol_words(dataset), *model, *where],
        ["bench", "leaderboard", "--dataset", name],
    )
    return [shlex.join(line) for line in lines]


def _protocol_words(dataset: Dataset) -> list[str]:
    """Options of a protocol that can split the log: the default one where it is long enough."""
    if not dataset.timed:
        return ["--protocol", "microlens-loo"]
    one: dict[str, Any] = {"folds": 1}
    settings: list[dict[str, Any]] = [{}, {"folds": 3}, {"folds": 2}, one]
    fitting = (chosen for chosen in settings if _split_notes(dataset, chosen) == [])
    short = (chosen for chosen in (one, {**one, "window": "1d", "stride": "1d"}) if _split_notes(dataset, chosen))
    chosen = next(chain(fitting, short), {})
    return [word for key, value in chosen.items() for word in ("--set", f"protocol.{key}={value}")]


def _split_notes(dataset: Dataset, settings: Mapping[str, Any]) -> list[str] | None:
    """Notes on validation windows of a rolling split; None: it cannot split the log."""
    try:
        folds = Rolling7d.from_options(settings).split(dataset)
    except DataError:
        return None
    return [note for fold in folds if (note := fold.info.get("validation_note"))]


def _options(given: Mapping[str, Any]) -> list[str]:
    return [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", *_listed(value))]


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _typed(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _utc(milliseconds: int) -> str:
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
