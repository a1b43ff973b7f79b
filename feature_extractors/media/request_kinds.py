"""What a decoding process can be asked for, and how questions and answers pass the pipe: one entry a kind.

Both ends read it: `decoding.DecodePool` asks, `decode_worker` answers. Imports numpy and PyAV, never torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_extractors.media import audio, frame_policy, timeline, video
from feature_extractors.media.audio import Listening, Sound
from feature_extractors.media.frame_policy import FramePolicy
from feature_extractors.media.result import Clip, Failure
from feature_extractors.media.timeline import Timeline, Timing

Wanted = FramePolicy | Listening | Timing
Found = Clip | Sound | Timeline


@dataclass(frozen=True)
class Kind:
    """One thing to ask for.

    Attributes
    ----------
    name
        Key of the question.
    wanted, found
        Types of what is asked and of what comes; the first field of `found` is an array, the others are JSON-able.
    dtype
        Of the array.
    say, hear
        From what is wanted to JSON, and back.
    decode
        From path, what is wanted and a function to call with the duration, to what was found or a failure.
    """

    name: str
    wanted: type
    found: Callable[..., Found]
    dtype: type[np.generic]
    say: Callable[[Any], Any]
    hear: Callable[[Any], Wanted]
    decode: Callable[..., Found | Failure]


KINDS = (
    Kind("sound", Listening, Sound, np.float32, vars, lambda said: Listening(**said), audio.listen),
    Kind("times", Timing, Timeline, np.float64, vars, lambda said: Timing(**said), timeline.read),
    # a frame policy is whatever has its methods, not a type: this one comes last
    Kind("frames", object, Clip, np.uint8, lambda policy: policy.key, frame_policy.parse, video.decode),
)


def of(wanted: Wanted) -> Kind:
    """The kind of what is wanted."""
    return next(kind for kind in KINDS if isinstance(wanted, kind.wanted))


def asked(request: dict[str, Any]) -> Kind:
    """The kind of a question."""
    return next(kind for kind in KINDS if kind.name in request)


def array(found: Found) -> np.ndarray:
    """The array of what was found: frames, samples or times."""
    return next(iter(vars(found).values()))
