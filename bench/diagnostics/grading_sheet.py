"""Sheet for grading texts by hand: a self-contained page of sampled clips, and the CSV for the grades beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.diagnostics import grading
from bench.diagnostics.text_audit import Stored
from bench.report import clips
from bench.report.site import alone
from bench.report.text import printable, printable_lines
from feature_extractors.base import ItemSource
from protocols.errors import DataError, UserError
from protocols.progress import Progress

# Longer side of a frame in pixels: writing in a clip must be legible. About 8 kB a frame.
SIDE = 256
FRAMES = "uniform:8"


def check_target(page: Path, spaces: Sequence[str]) -> None:
    """Refuse to write a sheet of several spaces, or over a CSV that may be filled in.

    Raises
    ------
    UserError
        If there are several spaces, the folder is missing, or the CSV beside the page exists.
    """
    if len(spaces) > 1:
        raise UserError(f"a sheet is of one space, {len(spaces)} fit: {', '.join(spaces)}", remedy="name one of them")
    if not page.parent.is_dir():
        raise UserError(f"cannot write {page}: there is no folder {page.parent}", remedy="choose another --sheet")
    form = page.with_suffix(".csv")
    if form == page:
        raise UserError(f"{page} has the name of the CSV beside the page", remedy="--sheet FILE.html")
    if form.exists():
        raise UserError(f"{form} is there already, perhaps filled in", remedy="move it away, or choose another --sheet")


def write(
    page: Path, texts: Stored, source: ItemSource, about: str, count: int, seed: int, progress: Progress, policy: str
) -> dict[str, Any]:
    """Sample clips, and write the page and the CSV.

    Parameters
    ----------
    count
        Clips on the sheet.
    texts, source, about, seed, progress, policy
        As of `make`.

    Returns
    -------
    dict
        Names of `page` and `csv`, number of `clips`.
    """
    if not texts.texts:
        raise DataError(f"{texts.entry.id} holds no text of an item of {about}", remedy="bench extract makes them")
    chosen = grading.sample(texts.texts, count, seed)
    content = make(texts, chosen, source, about, seed, progress, policy)
    form = page.with_suffix(".csv")
    try:
        page.write_text(content, encoding="utf-8")
        with form.open("x", encoding="utf-8-sig", newline="") as out:  # with a mark, or Excel takes it for Latin-1
            out.write(grading.form(chosen, texts.texts, texts.entry.id))
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}", remedy="choose another --sheet") from error
    return {"page": str(page), "csv": str(form), "clips": len(chosen)}


def make(
    stored: Stored,
    chosen: Sequence[str],
    source: ItemSource,
    about: str,
    seed: int,
    progress: Progress,
    policy: str = FRAMES,
) -> str:
    """Make the page.

    Parameters
    ----------
    stored
        The texts.
    chosen
        Ids of the sampled items, in the order to be shown.
    source
        Their titles and clips.
    about
        Origin of the items, for the head of the page.
    seed
        Of the sample.
    progress
        Shows how many clips are decoded.
    policy
        Frame policy.

    Returns
    -------
    str
        HTML.
    """
    titles = dict(zip(source.item_ids, source.titles, strict=True))
    items = {item: clips.Item(item, printable(titles.get(item) or "")) for item in chosen}
    clips.add_frames(items, source, progress, policy, SIDE)
    space = stored.entry.space
    return alone(
        "audit.html",
        space=stored.entry.id,
        checkpoints=", ".join(map(str, space.provenance.get("checkpoints", ()))) if space else "",
        about=about,
        seed=seed,
        among=len(stored.texts),
        frames=policy,
        seen=space.config.get("frames", "") if space else "",
        questions=grading.QUESTIONS,
        items=list(items.values()),
        texts={item: printable_lines(stored.texts[item]) for item in chosen},
    )
