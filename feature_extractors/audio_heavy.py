"""Audio-heavy clips: speech or music in over half of them by `sound-tags`; a slice of `bench compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feature_extractors.text.sound_windows import TaggedWindow, parse
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.store.catalogue import Entry
    from protocols.features import Features, FeatureSpace

# Groups of the classes of such clips in a list of classes, and the stage that names the classes of each clip.
GROUPS = ("speech", "music")
STAGE = "sound-tags.windows"


def is_heavy(windows: Sequence[TaggedWindow]) -> bool:
    """Return True if the windows whose best class is speech or music make up over half of the seconds.

    Examples
    --------
    >>> from feature_extractors.text.sound_windows import Tag
    >>> talk, rain = [Tag("a man speaking", "speech", 0.6)], [Tag("rain", "nature", 0.9)]
    >>> is_heavy([TaggedWindow(0, 10, talk), TaggedWindow(10, 10, rain), TaggedWindow(20, 2, talk)])
    True
    >>> is_heavy([TaggedWindow(0, 10, talk), TaggedWindow(10, 10, rain)])
    False
    """
    heavy = sum(window.seconds for window in windows if window.tags[0].group in GROUPS)
    return heavy > sum(window.seconds for window in windows) / 2


def audio_heavy(windows: Features) -> dict[str, bool]:
    """Return the clips that are audio-heavy.

    Parameters
    ----------
    windows
        As `SoundTags.windows` returns them.

    Returns
    -------
    dict
        By raw id. A clip that is known to have no sound is not heavy; one whose sound could not be read (`missing`,
        `undecodable`, `error`) is left out.

    Raises
    ------
    UserError
        If these are other features, or the list of classes has neither group.
    """
    _check(windows.space)
    rows = zip(windows.item_ids, windows.status, windows.values, strict=True)
    return {item: status == "ok" and is_heavy(parse(text)) for item, status, text in rows if status in ("ok", "empty")}


def stored(entry: Entry) -> dict[str, bool]:
    """Return the audio-heavy clips of a stored feature space.

    Raises
    ------
    UserError
        As `audio_heavy`.
    DataError
        If the space has lost its description.
    """
    from feature_extractors.store import catalogue

    store = entry.store
    _check(store.space)
    index = catalogue.read_index(store)
    heavy = {item: False for item, status in zip(index.item_ids, index.status, strict=True) if status == "empty"}
    for rows in catalogue.read_ok(store, index):
        heavy |= {row.item_id: is_heavy(parse(str(row.value))) for row in rows if row is not None}
    return heavy


def _check(space: FeatureSpace) -> None:
    if space.extractor != STAGE:
        raise UserError(
            f"{space.id} cannot tell audio-heavy clips: it is not of {STAGE}",
            remedy="bench extract --extractor audio-captions, then --audio-heavy sound-tags.windows",
        )
    if not any(group in GROUPS for _, group in space.config["classes"]):
        raise UserError(
            f"{space.id} cannot tell audio-heavy clips: its list of classes has neither a group [speech] nor [music]",
            remedy="write these lines above the classes that they hold for",
        )
