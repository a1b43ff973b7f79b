"""Results of decoding: a clip with its frames, or a failure with its status and reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Clip:
    """Decoded frames of one clip.

    Attributes
    ----------
    frames
        uint8 [N, H, W, 3] RGB, upright.
    indices
        [N] positions among all decoded frames.
    times
        [N] seconds since the first frame.
    total
        Number of decoded frames (before the policy's end).
    fps
        Frames per second over the whole clip, from timestamps (average, where the rate varies), three decimals.
    damaged
        Packets that did not decode.
    decoder
        `pyav` or `decord`.
    """

    frames: np.ndarray
    indices: list[int]
    times: list[float]
    total: int
    fps: float
    damaged: int
    decoder: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata for video processors of transformers: without it they take every clip for 24 frames per second."""
        return {
            "fps": self.fps,
            "total_num_frames": self.total,
            "duration": self.total / self.fps,
            "frames_indices": list(self.indices),
        }

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features: damaged packets."""
        return f"damaged: {self.damaged} packets do not decode" if self.damaged else ""


@dataclass(frozen=True)
class Failure:
    """Failed decoding: a status of `protocols.features.STATUSES` and the reason.

    `unexpected`: an exception of the program, whose cause need not be the clip.
    """

    status: str
    reason: str
    unexpected: bool = field(default=False, compare=False)
