"""Frames of a demo clip, drawn with numpy alone.

The picture is a background that the camera moves over, a layer of big shapes that moves as one on a torus (what
leaves on one side comes back on the other), and, when a word is written, a plain band with the word below.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from protocols.datasets.demo.backgrounds import draw_setting
from protocols.datasets.demo.factors import FPS, Scene

#: Classic 5 x 7 dot-matrix letters: five columns each, lowest bit on top.
FONT = {
    "a": "7E1111117E", "b": "7F49494936", "c": "3E41414122", "d": "7F4141221C", "e": "7F49494941", "f": "7F09090901",
    "g": "3E4149497A", "h": "7F0808087F", "i": "00417F4100", "j": "2040413F01", "k": "7F08142241", "l": "7F40404040",
    "m": "7F020C027F", "n": "7F0408107F", "o": "3E4141413E", "p": "7F09090906", "q": "3E4151215E", "r": "7F09192946",
    "s": "4649494931", "t": "01017F0101", "u": "3F4040403F", "v": "1F2040201F", "w": "3F4038403F", "x": "6314081463",
    "y": "0708700807", "z": "6151494543",
}  # fmt: skip

COLOUR_RGB = {
    "red": (220, 25, 30), "orange": (255, 135, 0), "yellow": (250, 228, 30), "green": (20, 165, 50),
    "blue": (30, 60, 235), "purple": (150, 40, 190), "white": (250, 250, 250), "black": (18, 18, 18),
}  # fmt: skip

#: Radius of a shape, as a share of the picture, at size 0.5.
RADIUS = {"one": 0.26, "two": 0.20, "three": 0.175}
#: Centres of the copies on the unit torus; no shift of the torus maps two of them onto each other but diagonally.
CENTRES = {"one": ((0.5, 0.5),), "two": ((0.25, 0.28), (0.75, 0.72)), "three": ((0.2, 0.25), (0.72, 0.3), (0.45, 0.78))}
BAND = 0.23


def render_frames(scene: Scene, size: int = 112) -> np.ndarray:
    """Draw all frames of a scene.

    Parameters
    ----------
    scene
        What to draw.
    size
        Height and width in pixels.

    Returns
    -------
    np.ndarray
        uint8 [T, size, size, 3]; the same scene gives the same bytes.
    """
    top = size - round(BAND * size)  # shapes stay above the band whether or not a word is written
    tint = _tint(scene.palette)
    frames = _background_frames(scene, size, tint)
    paint, cover = _shape_layer(scene, size, top, tint)
    dx, dy = _path(scene, size)
    for frame, x, y in zip(frames, dx, dy, strict=True):
        view = frame[:top]
        rows, cols = slice(y % top, y % top + top), slice(x % size, x % size + size)
        np.copyto(view, paint[rows, cols], where=cover[rows, cols])
    if scene.word:
        frames[:, top:] = _apply(tint, _band(scene.word, size, size - top))
    return frames


def _path(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Integer shift of the view over the torus at each frame: minus the movement of the shapes."""
    t = np.arange(scene.frames) / FPS
    walk = (0.14 + 0.28 * scene.speed) * t  # shares of the picture
    turn = 2 * np.pi * (0.45 + 0.35 * scene.speed) * t  # radians
    zero = np.zeros_like(t)
    x, y = {
        "left": (-walk, zero),
        "right": (walk, zero),
        "up": (zero, -walk),
        "down": (zero, walk),
        "circling": (0.2 * np.cos(turn), 0.2 * np.sin(turn)),
        "bouncing": (zero, -0.3 * np.abs(np.sin(turn / 2))),
        "swinging": (0.25 * np.sin(turn), zero),
    }[scene.motion]
    # Start anywhere along a straight path, but across it stay near the middle: few shapes are cut by an edge.
    x = x + (scene.phase_x if scene.motion in ("left", "right") else 0.12 * (scene.phase_x - 0.5))
    y = y + (scene.phase_y if scene.motion in ("up", "down") else 0.12 * (scene.phase_y - 0.5))
    return np.rint(-x * size).astype(int), np.rint(-y * size).astype(int)


def _shape_layer(scene: Scene, size: int, top: int, tint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw all copies on a torus of [top, size], tiled twice both ways: colours uint8 and cover bool, same shape."""
    radius = RADIUS[scene.count] * (0.82 + 0.36 * scene.size) * size
    colour = np.array(COLOUR_RGB[scene.colour], dtype=np.float32)
    dark = colour.mean() < 70
    palette = np.stack([colour, colour * 0.45 + (140 if dark else 0), np.full(3, 255.0 if dark else 0.0)])
    sprite = _sprite(scene.shape, scene.texture, round(float(radius), 1))
    which = np.full((top, size), -1, dtype=np.int8)
    span = np.arange(len(sprite)) - len(sprite) // 2
    for cx, cy in CENTRES[scene.count]:
        ys, xs = (round(cy * top) + span) % top, (round(cx * size) + span) % size
        grid = np.ix_(ys, xs)
        which[grid] = np.where(sprite >= 0, sprite, which[grid])
    paint = _apply(tint, palette)[which]
    cover = np.broadcast_to((which >= 0)[..., None], paint.shape)
    return np.tile(paint, (2, 2, 1)), np.tile(cover, (2, 2, 1))


@lru_cache(maxsize=4096)
def _sprite(shape: str, texture: str, radius: float) -> np.ndarray:
    """Draw one shape: int8 [n, n]; -1 outside, 0 fill, 1 second colour of the texture, 2 outline."""
    half = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    distance = {
        "circle": lambda: np.hypot(x, y) - radius,
        "square": lambda: np.maximum(np.abs(x), np.abs(y)) - 0.86 * radius,
        "triangle": lambda: np.maximum(np.abs(x) * 0.894 + (y - 0.8 * radius) * 0.447, y - 0.8 * radius),
        "cross": lambda: np.minimum(
            np.maximum(np.abs(x) - radius, np.abs(y) - 0.3 * radius),
            np.maximum(np.abs(y) - radius, np.abs(x) - 0.3 * radius),
        ),
        "ring": lambda: np.abs(np.hypot(x, y) - 0.76 * radius) - 0.24 * radius,
    }[shape]()
    period = max(radius / 2.6, 4.0)
    u, v = np.floor(x / period), np.floor(y / period)
    second = {
        "plain": lambda: np.zeros_like(x, dtype=bool),
        "stripes": lambda: np.floor((x + y) / period) % 2 == 1,
        "dots": lambda: np.hypot(x - (u + 0.5) * period, y - (v + 0.5) * period) < 0.36 * period,
        "checker": lambda: (u + v) % 2 == 1,
    }[texture]()
    sprite = np.where(second, 1, 0)
    sprite[distance > -max(radius / 14, 1.0)] = 2
    sprite[distance > 0] = -1
    return sprite.astype(np.int8)


def _background_frames(scene: Scene, size: int, tint: np.ndarray) -> np.ndarray:
    """Background of every frame as the camera sees it, writable uint8 [T, size, size, 3]."""
    light = 0.88 + 0.24 * scene.light
    base = _apply(tint, light * np.roll(draw_setting(scene.setting, size), round(scene.shift * size), axis=1))
    steps = np.arange(scene.frames)
    if scene.camera == "zoom":
        # Packing a pixel into one word makes the two gathers three times as fast.
        packed = np.zeros((size, size), dtype=np.uint32)
        packed.view(np.uint8).reshape(size, size, 4)[..., :3] = base
        out = np.empty((scene.frames, size, size), dtype=np.uint32)
        for i, scale in enumerate(1 + 0.2 * steps / FPS):
            index = np.clip(np.rint((np.arange(size) - size / 2) / scale + size / 2).astype(int), 0, size - 1)
            out[i] = packed[index][:, index]
        return out.view(np.uint8).reshape(scene.frames, size, size, 4)[..., :3].copy()
    x, y = np.zeros(scene.frames, dtype=int), np.zeros(scene.frames, dtype=int)
    if scene.camera == "pan":
        x = np.rint(0.22 * size * steps / FPS).astype(int)
    elif scene.camera == "shake":
        x = np.rint(0.05 * size * np.sin(5.1 * steps)).astype(int)
        y = np.rint(0.04 * size * np.sin(3.7 * steps + 1)).astype(int)
    tall = np.concatenate([base[: size // 8][::-1], base, base[-(size // 8) :][::-1]])
    wide = np.concatenate([tall, tall], axis=1)
    out = np.empty((scene.frames, size, size, 3), dtype=np.uint8)
    for frame, i, j in zip(out, y + size // 8, x % size, strict=True):
        frame[:] = wide[i : i + size, j : j + size]
    return out


def _tint(palette: str) -> np.ndarray:
    """Colour matrix [3, 3] of a palette."""
    saturation, gains = {
        "warm": (1.0, (1.12, 0.97, 0.74)),
        "cool": (1.0, (0.78, 0.97, 1.14)),
        "muted": (0.55, (0.92, 0.92, 0.92)),
        "vivid": (1.35, (1.05, 1.05, 1.05)),
    }[palette]
    grey = np.full((3, 3), 1 / 3)
    return (np.diag(gains) @ (grey + saturation * (np.eye(3) - grey))).astype(np.float32)


def _apply(tint: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Colour matrix on float [..., 3]; uint8 of the same shape."""
    return np.clip(image.astype(np.float32) @ tint.T, 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _band(word: str, size: int, height: int) -> np.ndarray:
    """Draw the written word: float32 [height, size, 3], dark letters on a light band."""
    columns = [int(FONT[letter][i : i + 2], 16) for letter in word for i in range(0, 10, 2)]
    dots = np.array([[column >> row & 1 for column in columns] for row in range(7)], dtype=bool)
    dots = np.insert(dots, np.arange(5, dots.shape[1], 5), False, axis=1)  # a gap between letters
    tall, wide = round(0.84 * height), round(size * min(0.88, 0.038 * dots.shape[1]))
    letters = dots[np.arange(tall) * 7 // tall][:, np.arange(wide) * dots.shape[1] // wide]
    band = np.full((height, size, 3), 245, dtype=np.float32)
    y, x = (height - tall) // 2, (size - wide) // 2
    band[y : y + tall, x : x + wide][letters] = 10
    return band
