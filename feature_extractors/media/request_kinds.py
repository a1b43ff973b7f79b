"""Kinds of decoding requests (frames, sound, frame times) and their transport between processes: one entry a kind.

Used by both ends: `pool.DecodePool` sends requests, `worker` answers. Imports numpy and PyAV, never torch.
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

Request = FramePolicy | Listening | Timing
Media = Clip | Sound | Timeline


@dataclass(frozen=True)
class Kind:
    """Kind of decoding request.

    Attributes
    ----------
    name
        Key of the message.
    request, media
        Types of the request and of the answer; the first field of `media` is an array, the others are JSON-able.
    dtype
        Of the array.
    to_json, from_json
        Turn a request into JSON, and back.
    decode
        Takes path, request and a function to call with the duration; returns media or a failure.
    """

    name: str
    request: type
    media: Callable[..., Media]
    dtype: type[np.generic]
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Request]
    decode: Callable[..., Media | Failure]


KINDS = (
    Kind("sound", Listening, Sound, np.float32, vars, lambda fields: Listening(**fields), audio.listen),
    Kind("times", Timing, Timeline, np.float64, vars, lambda fields: Timing(**fields), timeline.read),
    # a frame policy is whatever has its methods, not a type: this one comes last
    Kind("frames", object, Clip, np.uint8, lambda policy: policy.key, frame_policy.parse, video.decode),
)


def kind_of(request: Request) -> Kind:
    """Return the kind of a request."""
    return next(kind for kind in KINDS if isinstance(request, kind.request))


def kind_of_message(message: dict[str, Any]) -> Kind:
    """Return the kind of a request as it came through the pipe."""
    return next(kind for kind in KINDS if kind.name in message)


def array_of(media: Media) -> np.ndarray:
    """Return the array of decoded media: frames, samples or times."""
    return next(iter(vars(media).values()))
