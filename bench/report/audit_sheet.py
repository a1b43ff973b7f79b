"""Self-contained page of sampled clips with frames, title and stored text, for grading texts by hand."""

from __future__ import annotations

from collections.abc import Sequence

from bench.diagnostics.grading import QUESTIONS
from bench.diagnostics.text_audit import Stored
from bench.report import clips
from bench.report.site import alone
from bench.report.text import printable, printable_lines
from feature_extractors.base import ItemSource
from protocols.progress import Progress

# Of a frame, in pixels: writing in a clip must be legible. About 8 kB a frame.
SIDE = 256
FRAMES = "uniform:8"


def make(
    stored: Stored,
    chosen: Sequence[str],
    source: ItemSource,
    about: str,
    seed: int,
    progress: Progress,
    policy: str = FRAMES,
) -> str:
    """Write the sheet.

    Parameters
    ----------
    stored
        The texts.
    chosen
        Ids of the sampled items, in the order to be shown.
    source
        Their titles and clips.
    about
        Where the items come from, for the head of the page.
    seed
        Of the sample.
    progress
        Shows how many clips are decoded.
    policy
        Which frames are shown.

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
        questions=QUESTIONS,
        items=list(items.values()),
        texts={item: printable_lines(stored.texts[item]) for item in chosen},
    )
