"""Media files with texts that belong to them: what a model is told of a clip beside the clip itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import DataError

if TYPE_CHECKING:
    from feature_extractors.media.result import Failure
    from feature_extractors.pipeline.stage import Inputs, Reader
    from protocols.features import Features


@dataclass(frozen=True, eq=False)
class Told:
    """A media file and its texts, None where there is none; the payload of a stage."""

    path: Path
    texts: tuple[str | None, ...]


def told(clips: Inputs, *texts: Sequence[str | None]) -> Inputs:
    """Add to each clip one text of each list; with another text a clip is another content.

    Parameters
    ----------
    clips
        As `pipeline.video_inputs` makes them.
    texts
        Each [N], of the same items in the same order. No text is no failure.
    """
    from feature_extractors.pipeline.stage import Inputs
    from protocols.hashing import digest

    rows = list(zip(*texts, strict=True)) if texts else [()] * len(clips.item_ids)
    payloads = [Told(path, row) for path, row in zip(clips.payloads, rows, strict=True)]
    content = [digest([content, *row], 64) if content else "" for content, row in zip(clips.content, rows, strict=True)]
    return Inputs(clips.item_ids, payloads, content, clips.failures)


def texts_of(features: Features, item_ids: Sequence[str]) -> list[str | None]:
    """Texts of a feature space of kind `text`, None where an item has none.

    Raises
    ------
    DataError
        If they are not of these items, in this order.
    """
    if list(features.item_ids) != list(item_ids):
        raise DataError(f"the texts of {features.space.id} are of other items")
    return [str(value) if ok else None for value, ok in zip(features.values, features.ok, strict=True)]


@contextmanager
def reading(pool: Any, join: Callable[..., Any]) -> Iterator[Reader]:
    """Read files with `pool`, a `DecodePool`, while the stage runs.

    Parameters
    ----------
    join
        Makes the model's input: (what the pool made of the file, *texts) -> input. Failures are handed on.
    """
    with pool as opened:
        yield _Reading(opened, join)


class _Reading:
    """Decodes each file and joins it with its texts."""

    def __init__(self, pool: Any, join: Callable[..., Any]) -> None:
        self._pool, self._join = pool, join

    @property
    def busy(self) -> float:
        """Seconds of decoding so far."""
        return getattr(self._pool, "busy", 0.0)

    def map(self, payloads: Sequence[Told], ahead: int) -> Iterator[Any | Failure]:
        """Yield one input or failure a file, in order."""
        from feature_extractors.media.result import Failure

        found: Iterator[Any] = self._pool.map([one.path for one in payloads], ahead)
        for one, media in zip(payloads, found, strict=True):
            yield media if isinstance(media, Failure) else self._join(media, *one.texts)
