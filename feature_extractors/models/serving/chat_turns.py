"""Chat turns of items in OpenAI's format: text, frames as images or as a video, and sound, as data URLs.

Servers and in-process engines that take such messages are given the same ones. Frames are those that the frame policy
chose, in full resolution; the model's own processor resizes them.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.media.av_clip import AvClip
from feature_extractors.media.result import Clip
from feature_extractors.models import qwen_audio, text_generation
from feature_extractors.models.serving.engines import FramesAs

# Behaviour of this module, part of the key of every text made with it.
VERSION = 1
JPEG_QUALITY = 95
# Special tokens of a model that is somewhere else are not known: what tokens of chat templates consist of is taken out.
MARKS = ("<|", "|>", "<image>", "<video>", "<audio>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "</s>")
# Ticks of a second of a sent video.
TICKS = 1000


@dataclass(frozen=True, eq=False)
class Turn:
    """One turn of the user.

    Attributes
    ----------
    text
        Prompt with its fields filled.
    clip
        Frames; None where there are none.
    sound
        Sound; None where there is none.
    """

    text: str
    clip: Clip | None = None
    sound: Sound | None = None


def turn_of(item: Any, prompt: str, longest: int = 0) -> Turn:
    """Return the turn of an item of a stage.

    Parameters
    ----------
    item
        `Clip`, `AvClip`, `SoundWithTexts` or `PromptFields`.
    prompt
        With the fields of the latter two.
    longest
        Most characters of a line of a field of `PromptFields`.
    """
    if isinstance(item, Clip):
        return Turn(prompt, clip=item)
    if isinstance(item, AvClip):
        return Turn(prompt, item.clip, item.sound)
    if isinstance(item, qwen_audio.SoundWithTexts):
        return Turn(qwen_audio.filled_prompt(prompt, item, MARKS), sound=item.sound)
    if isinstance(item, text_generation.PromptFields):
        return Turn(text_generation.filled_prompt(prompt, item, MARKS, longest))
    raise TypeError(f"no chat turn can be made of {type(item).__name__}")


def messages(turn: Turn, frames_as: FramesAs) -> list[dict[str, Any]]:
    """Write a turn as messages of chat completions: the media first, then the text.

    `video_url` is an extension of the format by vLLM, SGLang and transformers; sound is `input_audio`, a WAV file.
    """
    content: list[dict[str, Any]] = []
    if turn.clip is not None:
        content += _frames(turn.clip, frames_as)
    if turn.sound is not None:
        content.append({"type": "input_audio", "input_audio": {"data": _base64(wav(turn.sound)), "format": "wav"}})
    return [{"role": "user", "content": [*content, {"type": "text", "text": turn.text}]}]


def _frames(clip: Clip, frames_as: FramesAs) -> list[dict[str, Any]]:
    if frames_as == "video":
        return [{"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{_base64(mp4(clip))}"}}]
    images = (_base64(image(frame, frames_as)) for frame in clip.frames)
    return [{"type": "image_url", "image_url": {"url": f"data:image/{frames_as};base64,{one}"}} for one in images]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def image(frame: np.ndarray, kind: str) -> bytes:
    """Encode a frame, uint8 [H, W, 3] RGB, as `png` or as `jpeg` of quality 95 with full colour resolution."""
    from PIL import Image

    out = io.BytesIO()
    settings: dict[str, Any] = {"quality": JPEG_QUALITY, "subsampling": 0} if kind == "jpeg" else {"compress_level": 1}
    Image.fromarray(frame).save(out, kind, **settings)
    return out.getvalue()


def mp4(clip: Clip) -> bytes:
    """Encode the chosen frames, and no others, as a lossless MP4 (H.264 in RGB) in which each has its own time.

    Times count from the first chosen frame, in milliseconds. Whoever decodes all frames sees the very pixels; a
    processor that takes position over rate for the time of a frame is right where the frames are evenly spaced.
    """
    import av

    out = io.BytesIO()
    ticks = _ticks(clip.times)
    step = max(1, round(ticks[-1] / (len(ticks) - 1))) if len(ticks) > 1 else TICKS
    with av.open(out, "w", format="mp4") as container:
        video: Any = container.add_stream("libx264rgb", rate=Fraction(TICKS, step))
        video.height, video.width = clip.frames.shape[1:3]
        video.pix_fmt, video.options = "rgb24", {"crf": "0", "preset": "ultrafast", "bf": "0"}
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        for pixels, tick in zip(clip.frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base, frame.duration = tick, Fraction(1, TICKS), step
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return out.getvalue()


def _ticks(times: Sequence[float]) -> list[int]:
    """Milliseconds since the first time, each later than the one before: damaged files may jump back."""
    found: list[int] = []
    for time in times:
        tick = round(TICKS * (time - times[0]))
        found.append(max(tick, found[-1] + 1) if found else 0)
    return found


def wav(sound: Sound) -> bytes:
    """Encode a sound as a WAV file of 16 bits, 16 kHz, mono: the samples as they were decoded."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        samples = np.clip(np.round(qwen_audio.filled_up(sound.samples) * 32768), -32768, 32767)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()
