"""Captions of the pieces of long clips, by the captioner of `captions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feature_extractors.media.result import Clip, Failure
from feature_extractors.media.segments import LongClip, Piece, decoded
from feature_extractors.text.limits import CutText

# Behaviour of this module, part of the key of every text made with it.
VERSION = 1
# Frames that wait for a model call, in bytes.
WAITING_BYTES = 1 << 28


class PieceCaptioner:
    """Clips in pieces to text: a line a piece, `8-16 s: CAPTION`, those without a word left out.

    Parameters
    ----------
    captioner
        Describes clips: a text each, or a failure.
    batch
        Most pieces of one call. What is held in memory is that, or `WAITING_BYTES` of frames, however long a clip is.
    """

    def __init__(self, captioner: Callable[[Sequence[Clip]], Sequence[str | Failure]], batch: int) -> None:
        self._captioner, self._batch = captioner, batch
        if hasattr(captioner, "close"):
            self.close = captioner.close

    def __call__(self, clips: Sequence[LongClip]) -> list[str | Failure]:
        """Caption all pieces of a batch; a clip with a piece that cannot be decoded again, or captioned, fails."""
        lines: list[list[str]] = [[] for _ in clips]
        failures: dict[int, Failure] = {}
        waiting: list[tuple[int, Piece, Clip]] = []
        for at, piece, found in decoded(clips):
            if isinstance(found, Failure):
                failures.setdefault(at, found)
            elif at not in failures:
                waiting.append((at, piece, found))
            held = sum(clip.frames.nbytes for _, _, clip in waiting)
            if len(waiting) >= self._batch or held >= WAITING_BYTES:
                self._caption(waiting, lines, failures)
                waiting = []
        self._caption(waiting, lines, failures)
        return [failures.get(at) or _joined(own) for at, own in enumerate(lines)]

    def _caption(
        self, waiting: Sequence[tuple[int, Piece, Clip]], lines: list[list[str]], failures: dict[int, Failure]
    ) -> None:
        if waiting:
            texts = self._captioner([clip for _, _, clip in waiting])
            for (at, piece, _), text in zip(waiting, texts, strict=True):
                if isinstance(text, Failure):
                    failures.setdefault(at, text)
                else:
                    line = f"{piece.span}: {text}"
                    lines[at] += [CutText(line, text.limit) if isinstance(text, CutText) else line] * bool(text)


def _joined(lines: Sequence[str]) -> str:
    """Join the lines of a clip; where one is cut, the whole has the remark."""
    text = "\n".join(lines)
    cut = next((line for line in lines if isinstance(line, CutText)), None)
    return CutText(text, cut.limit) if cut is not None else text
