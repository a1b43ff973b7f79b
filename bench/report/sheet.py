"""Self-contained page of users whom one run serves and another fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.boards.cell_results import CellResults
from bench.report import clips, differences
from bench.report.differences import Counts, Example
from bench.report.site import alone
from bench.runs import run as runs
from feature_extractors.store import catalogue
from protocols.dataset import Dataset
from protocols.errors import DataError
from protocols.progress import Progress

# Items shown of a history (the newest) and of each list.
HISTORY, DEPTH = 6, 5


@dataclass(frozen=True)
class Sheet:
    """Written page.

    Attributes
    ----------
    page
        HTML.
    examples, counts
        Its content.
    notes
        Content that could not be shown, with the reason.
    """

    page: str
    examples: list[Example]
    counts: Counts
    notes: list[str]


def make(
    a: CellResults,
    b: CellResults,
    count: int,
    cache: Path,
    progress: Progress,
    places: Mapping[str, Mapping[str, Any]] | None = None,
    captions: str | None = None,
    frames: bool = True,
) -> Sheet:
    """Write the sheet of two runs of one board.

    Parameters
    ----------
    count
        Examples at most.
    cache
        Where data and features lie.
    places
        Options by plug-in name that records leave out: where files lie on this machine.
    captions
        A stored text space; None: those that the runs' features were made from.
    frames
        Whether to decode a frame of each clip.

    Raises
    ------
    DataError
        If the records hold no lists, or the data are not theirs.
    """
    examples, counts = differences.find(a, b, count)
    plugin, dataset = dataset_of(a, cache, progress, places or {})
    histories = _histories(dataset, a, examples)
    items = clips.known(dataset, differences.items_of(examples, [h[-HISTORY:] for h in histories], DEPTH))
    store, notes = cache / "features", []
    entries = [catalogue.find(store, captions)] if captions else clips.text_spaces([a, b], store)
    for entry in entries:
        clips.add_texts(items, entry)
    if not entries:
        notes.append("No captions: the features of neither run were made from texts that are stored here.")
    if frames:
        clips.add_frames(items, runs.item_source(plugin, dataset), progress)
    page = alone(
        "sheet.html",
        a=a.label,
        b=b.label,
        about=f"{a.cell.dataset}, {a.cell.protocol}",
        simulated=a.any_record.simulated,
        sentence=differences.sentence(counts, a.label, b.label),
        notes=notes,
        items=items,
        numbers={item: at for at, item in enumerate(items)},
        examples=list(zip(examples, histories, strict=True)),
        history=HISTORY,
        depth=DEPTH,
        begins={fold: str(record.fold_info.get("border", ""))[:10] for fold, record in _folds(a).items()},
    )
    return Sheet(page, examples, counts, notes)


def dataset_of(
    run: CellResults, cache: Path, progress: Progress, places: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, Dataset]:
    """Load the data of a run, and check that they are those of its records.

    Raises
    ------
    DataError
        If they are not.
    """
    name = run.cell.dataset
    options = {**run.cell.options.get("dataset", {}), **places.get(name, {})}
    plugin = registry.create("dataset", name, {name: options})
    dataset = plugin.load(cache, progress)
    expected = run.any_record.dataset.get("fingerprint")
    if dataset.fingerprint != expected:
        raise DataError(
            f"dataset {name} is not the one of the records: fingerprint {dataset.fingerprint[:16]}, they say "
            f"{str(expected)[:16]}",
            remedy="run both again on the data that are here",
        )
    return plugin, dataset


def _folds(run: CellResults) -> dict[int, Any]:
    return {record.fold: record for record in run.found.values()}


def _histories(dataset: Dataset, run: CellResults, examples: Sequence[Example]) -> list[list[str]]:
    """Gather the items of every example's user before the border of its fold, oldest first."""
    folds = _folds(run)
    log = dataset.interactions
    mine = log[log["user_id"].isin({example.user for example in examples})]
    by_user = dict(iter(mine.groupby("user_id")))
    out = []
    for example in examples:
        events = by_user.get(example.user, mine.iloc[:0])
        border = folds[example.fold].fold_info.get("border")
        if isinstance(border, str):
            until = np.int64(datetime.fromisoformat(border).timestamp() * 1000)
            events = events[events["timestamp"] < until]
        out.append(events["item_id"].tolist())
    return out
