"""Cost of captions on paper: from stated assumptions, each with its source, without a model or a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from protocols.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from feature_extractors.base import Extractor
    from feature_extractors.captions import Captions

GIVEN = "--assume"
#: Assumptions by the names that users type, with what they say.
NAMES = {
    "clips": "clips",
    "seconds": "seconds of a clip",
    "width": "pixels of a row of a frame",
    "height": "rows of a frame",
    "frames": "frames of a clip",
    "tokens_per_frame": "tokens of a frame",
    "prompt_tokens": "tokens of prompt and chat turn",
    "answer_tokens": "tokens of an answer",
    "prefill_tokens_per_s": "prefill, tokens/s",
    "decode_tokens_per_s": "decoding, tokens/s",
}
# Qwen2.5-VL: a token is 2 x 2 patches of 14 x 14 pixels of two frames of a video, or of one image.
QWEN2_5_VL = ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct")
FACTOR, PIXELS = 28, (3136, 12_845_056)
# Output tokens/s of LLaMA 3.1 8B (FP8) on one H200 by tokens of input and output.
PUBLISHED = {(2048, 128): 3794.14, (128, 2048): 25_398.86}
SOURCE = (
    "stand-in: LLaMA 3.1 8B in FP8 on one H200, TensorRT-LLM 0.17 (its perf-overview: 3,794 output tokens/s at "
    "2048+128 tokens, 25,399 at 128+2048)"
)
LEFT_OUT = (
    "not counted: decoding of the videos, the vision tower, loading, the text encoder. A user reports 13 clips of 30 "
    "frames a minute of Qwen2.5-VL-7B by vLLM on an A100 with the CPU at its limit (github.com/QwenLM/Qwen3-VL, issue "
    "1378): preprocessing may be what bounds it"
)


@dataclass(frozen=True)
class Assumption:
    """Number that a cost rests on, and where it is from."""

    name: str
    value: float
    source: str


@dataclass(frozen=True)
class PaperPlan:
    """Cost on paper.

    Attributes
    ----------
    assumptions
        In the order of `NAMES`.
    prefill, decode
        Hours on all devices together.
    devices
        That share the work.
    """

    assumptions: tuple[Assumption, ...]
    prefill: float
    decode: float
    devices: int

    @property
    def hours(self) -> float:
        """Hours until all is done."""
        return (self.prefill + self.decode) / self.devices


def parse(text: str) -> dict[str, float]:
    """Read `clips=20000,seconds=30`.

    Raises
    ------
    UserError
        If a name is unknown or given twice, or a value is no number above 0.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in NAMES:
            raise did_you_mean("assumption", name, NAMES)
        if name in found:
            raise UserError(f"--assume {name} is given twice, and one value counts", remedy="leave one out")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = 0.0
        if not 0 < found[name] < float("inf"):
            raise UserError(f"--assume {part}: expected a number above 0", remedy=f"--assume {name}=1000")
    return found


def make(extractor: Extractor, given: Mapping[str, float], devices: int = 1) -> PaperPlan:
    """Reckon what captions of many clips take.

    Parameters
    ----------
    extractor
        `captions`, or one that asks as it does.
    given
        Assumptions of the user, by `NAMES`; they win over the published ones.
    devices
        That share the work.

    Raises
    ------
    UserError
        For another extractor, or if an assumption is missing for which no source is known.
    """
    from feature_extractors.captions import Captions

    if not isinstance(extractor, Captions):
        raise UserError(
            f"--assume is of extractors such as captions, not of {extractor.name}",
            remedy="--plan without --assume times 16 clips",
        )
    found: dict[str, Assumption] = {}
    for name in NAMES:
        chosen = Assumption(name, given[name], GIVEN) if name in given else _known(name, extractor, found)
        if chosen is None:
            raise UserError(
                _unknown(name, extractor), remedy=f"--assume {name}=N; or --plan alone, which times 16 clips"
            )
        found[name] = chosen
    value = {name: one.value for name, one in found.items()}
    read = value["frames"] * value["tokens_per_frame"] + value["prompt_tokens"]
    return PaperPlan(
        tuple(found.values()),
        value["clips"] * read / value["prefill_tokens_per_s"] / 3600,
        value["clips"] * value["answer_tokens"] / value["decode_tokens_per_s"] / 3600,
        devices,
    )


def _known(name: str, extractor: Captions, found: Mapping[str, Assumption]) -> Assumption | None:
    """Return an assumption that needs no user; None: no source of it is known."""
    from feature_extractors.real_defaults import option
    from feature_extractors.text.prompt_files import read_prompt

    listed = extractor.checkpoint in QWEN2_5_VL
    if name in ("seconds", "width", "height"):
        return Assumption(name, {"seconds": 30, "width": 1280, "height": 720}[name], "assumed")
    if name == "frames":
        return Assumption(name, _frames(extractor, found["seconds"].value), f"frame policy {extractor.frames}")
    if name == "tokens_per_frame" and listed:
        return _tokens_of_a_frame(extractor, int(found["width"].value), int(found["height"].value))
    if name == "prompt_tokens":
        prompt = read_prompt(option(extractor, "prompt"))
        return Assumption(name, round(len(prompt) / 4) + 25, "4 characters a token, 25 for the chat turn: assumed")
    if name == "answer_tokens":
        return Assumption(name, option(extractor, "max_new_tokens"), "max_new_tokens: the most")
    if name.endswith("_per_s") and listed and extractor.engine != "local":
        return Assumption(name, round(published()[name]), SOURCE)
    return None


def _unknown(name: str, extractor: Captions) -> str:
    if name.endswith("_per_s"):
        return f"no published {name} is known to us of {extractor.checkpoint} by engine {extractor.engine}, in batches"
    return f"{name} is not known to us of {extractor.checkpoint}" if name != "clips" else "how many clips?"


def _frames(extractor: Captions, seconds: float) -> int:
    """Count the frames of a clip of this length at 30 frames per second."""
    from feature_extractors.media.frame_policy import ClipTopK, parse_any

    policy = parse_any(extractor.frames, extractor.max_seconds)
    if isinstance(policy, ClipTopK):
        return policy.count
    times = np.arange(max(1, round(min(seconds, policy.seconds or seconds) * 30))) / 30
    return len(policy.indices(times))


def _tokens_of_a_frame(extractor: Captions, width: int, height: int) -> Assumption:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    images = extractor.engine != "local" and extractor.frames_as != "video"
    least, most = (int(given) if given else own for given, own in zip(
        (extractor.min_pixels, extractor.max_pixels), PIXELS, strict=True))  # fmt: skip
    tall, wide = smart_resize(height, width, FACTOR, least, most)
    tokens = tall * wide / FACTOR**2 / (1 if images else 2)
    how = "an image" if images else "half of two frames of a video"
    return Assumption(
        "tokens_per_frame", tokens, f"Qwen2.5-VL's processor: {wide} x {tall} pixels, 28 x 28 each, {how}"
    )


def published() -> dict[str, float]:
    """Solve the published throughputs for the rates of prefill and decoding.

    Examples
    --------
    >>> {name: round(rate, -3) for name, rate in published().items()}
    {'prefill_tokens_per_s': 71000.0, 'decode_tokens_per_s': 26000.0}
    """
    seconds = [output / rate for (_, output), rate in PUBLISHED.items()]
    each = np.linalg.solve(np.array(list(PUBLISHED), dtype=float), seconds)
    return dict(zip(("prefill_tokens_per_s", "decode_tokens_per_s"), (1 / each).tolist(), strict=True))


def text(plan: PaperPlan, price: float | None = None, nodes: int = 1) -> str:
    """Write the assumptions as a table, and the cost below it; `price` is that of a node an hour."""
    rows = [[one.name, f"{one.value:,g}", one.source] for one in plan.assumptions]
    many = f"{plan.devices} devices" if plan.devices > 1 else "one device"
    lines = [
        tabulate(rows, ["assumption", "value", "source"], tablefmt="github", disable_numparse=True),
        f"on paper {plan.hours:.2f} hours on {many}: {plan.prefill:.2f} device hours of prefill, {plan.decode:.2f} of "
        "decoding",
        LEFT_OUT,
    ]
    if price is not None:
        lines.append(f"{nodes * plan.hours:.2f} node hours at {price:g} an hour: {nodes * plan.hours * price:.2f}")
    return "\n".join(lines)
