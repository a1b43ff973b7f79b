"""Items of an extraction: those of a dataset, or of a folder of clips."""

from __future__ import annotations

from pathlib import Path

from bench import registry
from bench.console import printable
from bench.runs import run as runs
from feature_extractors.base import ItemSource
from feature_extractors.files.folder import read_folder
from protocols.errors import UserError
from protocols.progress import Progress
from protocols.wording import counted


def open_source(
    dataset: str | None, media: str | None, options: dict[str, dict[str, object]], cache: Path, bars: Progress
) -> ItemSource:
    """Read the items of a dataset, or of a folder of clips, and report skipped files.

    Raises
    ------
    UserError
        If both are named, or as `read_folder`.
    """
    if media is None:
        plugin = registry.create("dataset", dataset or "demo", options)
        return runs.item_source(plugin, plugin.load(cache, bars))
    if dataset is not None:
        raise UserError("--media and --dataset both name the clips: give one of them")
    found = read_folder(Path(media).expanduser())
    bars.say(f"{counted(len(found.source.item_ids), 'clip')} in {media}; {counted(found.others, 'other file')} skipped")
    if found.linked:
        bars.say(f"{found.linked} links to folders were not followed")
    for problem in found.unread:
        bars.say(f"not read: {printable(problem)}")
    return found.source
