"""Backgrounds of the demo clips: six settings, each a picture that repeats to the right."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

RGB = tuple[int, int, int]


class Background:
    """Picture of a vertical gradient and regions of flat colours.

    Attributes
    ----------
    u, v
        float32 [size, size]: pixel centres as shares of the picture, to the right and down.
    image
        float32 [size, size, 3].
    """

    def __init__(self, size: int, upper: RGB, lower: RGB) -> None:
        self.v, self.u = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
        top, bottom = np.array(upper, np.float32), np.array(lower, np.float32)
        self.image = top + (bottom - top) * self.v[..., None]

    def gap(self, x: float) -> np.ndarray:
        """Signed horizontal distance to `x`, around the edge where that is shorter."""
        return (self.u - x + 0.5) % 1.0 - 0.5

    def away(self, x: float, y: float) -> np.ndarray:
        """Distance to a point."""
        return np.hypot(self.gap(x), self.v - y)

    def fill(self, where: np.ndarray, rgb: RGB) -> None:
        """Paint a region."""
        self.image[where] = rgb


@lru_cache(maxsize=32)
def draw_setting(setting: str, size: int) -> np.ndarray:
    """Draw a setting.

    Returns
    -------
    np.ndarray
        float32 [size, size, 3], periodic to the right; shared between calls, not to be written to.
    """
    image = SETTINGS[setting](size).image
    image.flags.writeable = False
    return image


def _sky(size: int) -> Background:
    b = Background(size, (95, 175, 250), (205, 232, 252))
    for x, y in ((0.2, 0.2), (0.62, 0.42), (0.35, 0.72), (0.9, 0.85)):
        for dx, r in ((-0.09, 0.06), (0.0, 0.09), (0.09, 0.06)):
            b.fill(b.away(x + dx, y) < r, (252, 252, 255))
    return b


def _sea(size: int) -> Background:
    b = Background(size, (20, 130, 160), (5, 55, 110))
    b.fill((b.v * 9 + 0.35 * np.sin(8 * np.pi * b.u)) % 1.0 < 0.3, (70, 190, 205))
    return b


def _forest(size: int) -> Background:
    b = Background(size, (70, 130, 60), (35, 75, 30))
    for x in (0.08, 0.3, 0.55, 0.8):
        b.fill((np.abs(b.gap(x)) < 0.035) & (b.v > 0.3), (92, 58, 30))
        b.fill((np.abs(b.gap(x)) < 0.55 * (b.v - 0.05)) & (b.v < 0.42), (16, 84, 34))
    return b


def _night(size: int) -> Background:
    b = Background(size, (8, 8, 36), (28, 22, 70))
    for x, y in np.random.default_rng(11).random((26, 2)):
        b.fill(b.away(x, y) < 0.014, (235, 235, 200))
    b.fill((b.away(0.75, 0.22) < 0.12) & (b.away(0.80, 0.18) > 0.1), (240, 235, 190))
    return b


def _desert(size: int) -> Background:
    b = Background(size, (250, 205, 140), (240, 190, 110))
    b.fill(b.away(0.25, 0.2) < 0.11, (255, 245, 190))
    b.fill(b.v > 0.5 + 0.09 * np.sin(2 * np.pi * b.u), (222, 160, 85))
    b.fill(b.v > 0.72 + 0.07 * np.sin(4 * np.pi * b.u + 1), (190, 122, 60))
    return b


def _city(size: int) -> Background:
    b = Background(size, (150, 155, 170), (195, 190, 190))
    for k, height in enumerate((0.75, 0.5, 0.88, 0.62, 0.8)):
        b.fill((np.abs(b.gap(0.1 + 0.2 * k)) < 0.085) & (b.v > 1 - height), (78 + 8 * k, 80, 92))
    lit = ((b.u * 20) % 1.0 > 0.5) & ((b.v * 14) % 1.0 > 0.5) & (b.image[..., 0] < 130)
    b.fill(lit, (250, 225, 130))
    return b


SETTINGS = {"sky": _sky, "sea": _sea, "forest": _forest, "night": _night, "desert": _desert, "city": _city}
