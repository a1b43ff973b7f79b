"""Side texts: titles, transcripts and the like that a model is given with a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feature_extractors.media.result import Failure
from feature_extractors.pipeline.stage import Inputs, Reader
from protocols.errors import DataError
from protocols.features import Features
from protocols.hashing import digest


@dataclass(frozen=True, eq=False)
class MediaWithTexts:
    """A media file and its side texts, None where it has none; the payload of a stage."""

    path: Path
    texts: tuple[str | None, ...]


def with_side_texts(clips: Inputs, join: Callable[..., Any], *sources: Features | Sequence[str | None]) -> Inputs:
    """Add to each clip its text of each source; with another text a clip is another content.

    Parameters
    ----------
    clips
        Media files with their reader.
    join
        Makes the model's input: (decoded file, *texts) -> input. Failures to decode are handed on.
    sources
        Features of kind `text`, which become parents, or [N] texts; of the same items in the same order. An item
        without a text has None.
    """
    item_ids, opened = clips.item_ids, clips.reader
    assert opened is not None
    lists = [texts_of(one, item_ids) if isinstance(one, Features) else one for one in sources]
    rows = list(zip(*lists, strict=True)) if lists else [()] * len(item_ids)
    content = [digest([content, *row], 64) if content else "" for content, row in zip(clips.content, rows, strict=True)]
    return replace(
        clips,
        payloads=[MediaWithTexts(path, row) for path, row in zip(clips.payloads, rows, strict=True)],
        content=content,
        parents=[*clips.parents, *(one for one in sources if isinstance(one, Features))],
        reader=lambda workers: _read_with_texts(opened(workers), join),
    )


def texts_of(features: Features, item_ids: Sequence[str]) -> list[str | None]:
    """Return the texts of a feature space of kind `text`, None where an item has none.

    Raises
    ------
    DataError
        If they are not of these items, in this order.
    """
    if list(features.item_ids) != list(item_ids):
        raise DataError(f"the texts of {features.space.id} are of other items")
    return [str(value) if ok else None for value, ok in zip(features.values, features.ok, strict=True)]


@contextmanager
def _read_with_texts(reader: Any, join: Callable[..., Any]) -> Iterator[Reader]:
    with reader as opened:
        yield _JoiningReader(opened, join)


class _JoiningReader:
    """Decodes each file and joins it with its texts."""

    def __init__(self, reader: Reader, join: Callable[..., Any]) -> None:
        self._reader, self._join = reader, join

    @property
    def busy(self) -> float:
        """Seconds of decoding so far."""
        return getattr(self._reader, "busy", 0.0)

    def map(self, payloads: Sequence[MediaWithTexts], ahead: int) -> Iterator[Any | Failure]:
        """Yield one input or failure a file, in order."""
        decoded: Iterator[Any] = self._reader.map([one.path for one in payloads], ahead)
        for one, media in zip(payloads, decoded, strict=True):
            yield media if isinstance(media, Failure) else self._join(media, *one.texts)
