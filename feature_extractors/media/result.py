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
    damage
        Signs of damage, as `container.Damage.note`; "": none.
    decoder
        `pyav` or `decord`.
    """

    frames: np.ndarray
    indices: list[int]
    times: list[float]
    total: int
    fps: float
    damage: str
    decoder: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata for video processors of transformers: without it they take every clip for 24 frames per second.

        Processors take `frames_indices / fps` for the times of frames. Where the rate varies or frames are lost these
        are no times, and indices count milliseconds instead.
        """
        seconds = self.total / self.fps
        if self._even:
            return {
                "fps": self.fps,
                "total_num_frames": self.total,
                "duration": seconds,
                "frames_indices": list(self.indices),
            }
        return {
            "fps": 1000.0,
            "total_num_frames": 1000 * seconds,
            "duration": seconds,
            "frames_indices": [round(1000 * time) for time in self.times],
        }

    @property
    def _even(self) -> bool:
        """True where position over rate is the time of each frame, but for the rounding of times and of the rate."""
        rounding = [0.0015 + 0.0005 * time / self.fps for time in self.times]
        places = zip(self.indices, self.times, rounding, strict=True)
        return all(abs(index / self.fps - time) <= most for index, time, most in places)

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features: damage."""
        return self.damage


@dataclass(frozen=True)
class Failure:
    """Failed decoding: a status of `protocols.features.STATUSES` and the reason.

    `unexpected`: an exception of the program, whose cause need not be the clip. `passing`: true of this moment alone
    (the file vanished, or changed while it was read), so that no store may keep it.
    """

    status: str
    reason: str
    unexpected: bool = field(default=False, compare=False)
    passing: bool = field(default=False, compare=False)
