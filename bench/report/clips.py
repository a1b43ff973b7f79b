"""Titles, stored captions and frames of single items."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.boards.cell_results import CellResults
from bench.report.text import printable
from feature_extractors.base import ItemSource
from feature_extractors.media.frame_policy import parse
from feature_extractors.media.pool import DecodePool
from feature_extractors.media.remote_file import Source, look_up
from feature_extractors.media.result import Failure
from feature_extractors.store import catalogue
from protocols.dataset import Dataset
from protocols.errors import BenchError, UserError
from protocols.progress import Progress

# Longest side of a frame in pixels, and its JPEG quality: about 4 kB a frame.
SIDE, QUALITY = 160, 60


@dataclass
class Item:
    """Item of a sheet.

    Attributes
    ----------
    texts
        Stored captions and transcripts by the name of their extractor.
    frames
        JPEGs as data URIs, in time order; []: there are none, for the `reason`.
    """

    id: str
    title: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    frames: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def frame(self) -> str:
        """The frame in the middle of those; "" where there are none."""
        return self.frames[len(self.frames) // 2] if self.frames else ""


def known(dataset: Dataset, ids: Sequence[str]) -> dict[str, Item]:
    """Make items by raw id, with their titles."""
    titles: Any = dataset.items.get("title", {})
    found = {}
    for item in ids:
        title = titles.get(item)
        found[item] = Item(item, printable(title) if isinstance(title, str) else "")
    return found


def text_spaces(runs: Sequence[CellResults], store: Path) -> list[catalogue.Entry]:
    """Find the stored text spaces from which the features of some cells were made."""
    found: dict[str, catalogue.Entry] = {}
    for run in runs:
        space = run.any_record.features.get("space")
        try:
            chain = catalogue.describe_chain(catalogue.find(store, space)) if space else {}
        except UserError:  # made elsewhere, or deleted since
            continue
        for name in chain:
            entry = catalogue.find(store, name)
            if entry.space is not None and entry.space.kind == "text":
                found[name] = entry
    return list(found.values())


def add_texts(items: dict[str, Item], entry: catalogue.Entry) -> None:
    """Enter the stored texts of a space."""
    if entry.space is None or entry.space.kind != "text":
        raise UserError(f"{entry.id} holds no texts", remedy="bench features list")
    index = catalogue.read_index(entry.store)
    places = [p for p, i, s in zip(index.places, index.item_ids, index.status, strict=True) if s == "ok" and i in items]
    for row in entry.store.take(places):
        if row is not None and isinstance(row.value, str):
            items[row.item_id].texts[entry.space.extractor] = printable(" ".join(row.value.split()))


def add_frames(
    items: dict[str, Item], source: ItemSource, progress: Progress, policy: str = "uniform:1", side: int = SIDE
) -> None:
    """Decode frames of every clip, in a process of its own: files are anybody's.

    Parameters
    ----------
    items
        Get frames, or a reason.
    source
        Where the clips lie.
    progress
        Shows how far it is.
    policy
        Which frames, see `feature_extractors.media.frame_policy`; the middle one unless said otherwise.
    side
        Longest side of a frame in pixels.

    Raises
    ------
    UserError
        If there is no such policy.
    """
    paths = dict(zip(source.item_ids, source.videos, strict=True))
    there: list[tuple[Item, Source]] = []
    for item in items.values():
        path = paths.get(item.id)
        if path is None:
            item.reason = "no clip"
        elif isinstance(file := look_up(path) if isinstance(path, str) else path, Failure):
            item.reason = printable(file.reason)
        elif isinstance(file, Path) and not file.is_file():
            item.reason = "the clip is not on this machine"
        else:
            there.append((item, file))
    with DecodePool(1, parse(policy)) as pool, progress.task("frames", total=len(there)) as bar:
        for (item, _), found in zip(there, pool.map([path for _, path in there], ahead=8), strict=True):
            if isinstance(found, Failure):
                item.reason = printable(found.reason)
            else:
                pictures = found.frames  # type: ignore[union-attr]  # frames were asked for, not sound
                item.frames = [jpeg(picture, side) for picture in pictures]
            bar.advance()


def jpeg(frame: Any, side: int = SIDE) -> str:
    """Make a small JPEG of a frame, uint8 [H, W, 3], as a data URI.

    Raises
    ------
    BenchError
        If it is no picture.
    """
    from PIL import Image

    try:
        picture = Image.fromarray(frame)
    except (TypeError, ValueError) as error:
        raise BenchError(f"a decoded frame is no picture: {error}") from error
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
