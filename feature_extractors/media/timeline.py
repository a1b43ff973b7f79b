"""When the frames of a clip are shown: what must be known to cut it into parts before any part is decoded.

This module runs in decoding processes (`decoding.py`): it must never import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_extractors.media.container import MAX_PIXELS
from feature_extractors.media.result import Failure
from feature_extractors.media.video import attempt, nothing_decodes
from feature_extractors.media.video_pass import Header, frame_rate, sequential_pass


@dataclass(frozen=True)
class Timing:
    """Asks for the times of a clip's frames.

    Attributes
    ----------
    seconds
        Of how much of it, from its first frame; None: all of it.
    """

    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Timeline:
    """Times of all frames that decode.

    Attributes
    ----------
    times
        float64 [total] seconds since the first frame.
    fps
        Frames per second over the whole clip, three decimals.
    width, height
        Of the frames as they are stored, pixels.
    damaged
        Packets that did not decode.
    """

    times: np.ndarray
    fps: float
    width: int
    height: int
    damaged: int

    @property
    def end(self) -> float:
        """Seconds until the last frame has been shown."""
        return float(self.times.max()) + 1 / self.fps

    @property
    def frame_bytes(self) -> int:
        """Size of one decoded frame."""
        return 3 * self.width * self.height


def read(path: Path, wanted: Timing, probed: Callable[[float | None], None] = lambda _: None) -> Timeline | Failure:
    """Note the times in one sequential pass of PyAV, without a picture being made of any frame.

    Parameters
    ----------
    path
        Any file.
    wanted
        How much of it.
    probed
        As in `media.decode`, whose positions of frames these are.
    """

    def work(header: Header) -> Timeline | Failure:
        found = sequential_pass(path, frozenset(), wanted.seconds)
        if not found.times or not 0 < found.size[0] * found.size[1] <= MAX_PIXELS:
            return nothing_decodes(header)
        times = np.asarray(found.times, dtype=np.float64)
        return Timeline(times - times[0], frame_rate(found.times, found.nominal), *found.size, found.damaged)

    return attempt(path, wanted.seconds, probed, work)
