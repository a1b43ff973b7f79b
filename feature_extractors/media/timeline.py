"""Frame times of a clip, by which it is cut into segments before any of them is decoded.

This module runs in decoding processes (`pool.py`): it must never import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from feature_extractors.media.container import MAX_PIXELS
from feature_extractors.media.remote_file import Source
from feature_extractors.media.result import Failure
from feature_extractors.media.video import decode_with_header, no_frame_failure
from feature_extractors.media.video_pass import Header, frame_rate, sequential_pass


@dataclass(frozen=True)
class Timing:
    """Request for the times of a clip's frames.

    Attributes
    ----------
    seconds
        Duration from the first frame; None: the whole clip.
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
    damage
        Signs of damage, as `container.Damage.note`; "": none.
    """

    times: np.ndarray
    fps: float
    width: int
    height: int
    damage: str

    @property
    def end(self) -> float:
        """End of the last frame, seconds since the first."""
        return float(self.times.max()) + 1 / self.fps

    @property
    def frame_bytes(self) -> int:
        """Size of one decoded frame."""
        return 3 * self.width * self.height


def read(
    path: Source, wanted: Timing, on_duration: Callable[[float | None], None] = lambda _: None
) -> Timeline | Failure:
    """Read the times in one sequential pass of PyAV, without converting any frame to a picture.

    Parameters
    ----------
    path
        Any file.
    wanted
        Duration to read.
    on_duration
        As in `video.decode`, which counts frames in the same way.
    """

    def work(header: Header) -> Timeline | Failure:
        found = sequential_pass(path, frozenset(), wanted.seconds)
        if not found.times or not 0 < found.size[0] * found.size[1] <= MAX_PIXELS:
            return no_frame_failure(header)
        times = np.asarray(found.times, dtype=np.float64)
        return Timeline(times - times[0], frame_rate(found.times, found.nominal), *found.size, found.damage.note)

    return decode_with_header(path, wanted.seconds, on_duration, work)
