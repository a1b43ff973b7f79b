"""Parameters of the demo world (`world.yaml`) and the design matrices of its content terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from protocols.datasets.demo import factors as f

DAY = 86_400_000
WEEK = 7 * DAY
GROUPS = ("named", "unnamed", "sound", "words")

_SOUNDING = 1 - f.SILENT
_TALKING = _SOUNDING * f.SPEAKING


def _even(levels: Iterable[str], total: float = 1.0) -> dict[str, float]:
    levels = tuple(levels)
    return dict.fromkeys(levels, total / len(levels))


#: Levels of every categorical factor with the probability that `sample_scene` gives them.
LEVELS: dict[str, dict[str, float]] = {
    "count": _even(f.COUNTS),
    "colour": _even(f.COLOURS),
    "shape": _even(f.SHAPES),
    "motion": _even(f.MOTIONS),
    "setting": _even(f.SETTINGS),
    "word_topic": {"none": f.NO_WORD, **_even(f.WORD_TOPICS, 1 - f.NO_WORD)},
    "texture": _even(f.TEXTURES),
    "camera": _even(f.CAMERAS),
    "palette": _even(f.PALETTES),
    "rhythm": {"none": f.SILENT + _SOUNDING / 3, "slow": _SOUNDING / 3, "fast": _SOUNDING / 3},
    "mood": {"none": f.SILENT, **_even(f.MOODS, _SOUNDING)},
    "spoken_topic": {"none": 1 - _TALKING, **_even(f.SPOKEN_TOPICS, _TALKING)},
}


@lru_cache(maxsize=1)
def load_world() -> dict[str, Any]:
    """Read `world.yaml`; shared between calls, not to be written to."""
    return yaml.safe_load(resources.files("protocols.datasets.demo").joinpath("world.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Term:
    """One content term: a factor, or a pair of factors.

    Attributes
    ----------
    group, name
        As in `world.yaml`; a pair is written `a*b`.
    weight
        Standard deviation of its utility over users x clips.
    """

    group: str
    name: str
    weight: float

    @property
    def scalar(self) -> bool:
        """True for a factor that is a number (`speed`, `size`), liked or disliked linearly."""
        return self.name in ("speed", "size")

    @property
    def parts(self) -> list[dict[str, float]]:
        """Levels with probabilities of the one or two factors."""
        return [LEVELS[name] for name in self.name.split("*")]

    @property
    def width(self) -> int:
        """Number of columns of its design and of the tastes for it."""
        return 1 if self.scalar else int(np.prod([len(part) for part in self.parts]))

    def design(self, factors: list[dict[str, float | str]]) -> np.ndarray:
        """Design matrix float32 [I, width]: one-hot over levels, or the standardised number."""
        if self.scalar:
            values = np.array([[clip[self.name]] for clip in factors], dtype=np.float64)
            return ((values - 0.5) * np.sqrt(12)).astype(np.float32)  # uniform on [0, 1] has variance 1/12
        names, parts = self.name.split("*"), [list(part) for part in self.parts]
        rows = [[part.index(str(clip[name])) for name, part in zip(names, parts, strict=True)] for clip in factors]
        index = np.ravel_multi_index(tuple(np.array(rows).reshape(-1, len(names)).T), [len(part) for part in parts])
        return np.eye(self.width, dtype=np.float32)[index]

    def centre(self, taste: np.ndarray) -> np.ndarray:
        """Turn iid standard normal draws into tastes whose term has mean 0 and variance 1 over clips and draws.

        A pair is centred over either factor, so that it holds the interaction alone.

        Parameters
        ----------
        taste
            [..., width].
        """
        if self.scalar:
            return taste
        out = taste.reshape(*taste.shape[:-1], *(len(part) for part in self.parts))
        for axis, part in enumerate(reversed(self.parts)):
            p = np.array(list(part.values()))
            out = np.moveaxis(out, -1 - axis, -1)
            out = (out - (out * p).sum(-1, keepdims=True)) / np.sqrt(1 - (p**2).sum())
            out = np.moveaxis(out, -1, -1 - axis)
        return out.reshape(taste.shape)


def content_terms() -> list[Term]:
    """All content terms in the order of `world.yaml`."""
    content = load_world()["content"]
    return [Term(group, name, weight) for group in GROUPS for name, weight in content[group].items()]
