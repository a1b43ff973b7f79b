"""Titles of demo clips: incomplete, in many wordings, sometimes wrong."""

from __future__ import annotations

import numpy as np

from protocols.datasets.demo.factors import COLOURS, SETTINGS, SHAPES, SPOKEN_TOPICS, Scene, topic_of

CLICKBAIT = (
    "You won't believe this one!",
    "Wait for the end...",
    "My best clip so far",
    "Day {n} of posting every day",
    "Nobody asked for this",
    "part {n}",
    "Why does this feel so good?",
)
HOW_MANY = {"one": ("a", "one", "lonely"), "two": ("two", "a pair of", "2"), "three": ("three", "a trio of", "3")}
MOVES = {
    "left": ("going left", "heading left"),
    "right": ("going right", "off to the right"),
    "up": ("going up", "rising"),
    "down": ("going down", "falling"),
    "circling": ("in circles", "round and round"),
    "bouncing": ("bouncing", "jumping around"),
    "swinging": ("swinging", "to and fro"),
}
PLACES = {
    "sky": ("in the sky", "above the clouds"),
    "sea": ("at sea", "by the ocean"),
    "forest": ("in the forest", "in the woods"),
    "night": ("at night", "under the stars"),
    "desert": ("in the desert", "in the dunes"),
    "city": ("in the city", "downtown"),
}
SOUNDS = {"bright": "happy tune", "dark": "sad tune"}


def draw_title(scene: Scene, rng: np.random.Generator) -> str:
    """Draw a title for a scene.

    One in ten is clickbait without information, one in twelve is wrong, the others name some visible attributes
    and sometimes the sound. No title names texture, speed, size, camera or palette.
    """

    def some(values: tuple[str, ...]) -> str:
        return values[int(rng.integers(len(values)))]

    if rng.random() < 0.1:
        return some(CLICKBAIT).format(n=int(rng.integers(2, 60)))
    colour, shape, setting = scene.colour, scene.shape, scene.setting
    if rng.random() < 1 / 12:
        colour, shape, setting = some(COLOURS), some(SHAPES), some(SETTINGS)
    many = scene.count != "one"
    noun = (shape + ("es" if shape == "cross" else "s") if many else shape) if rng.random() < 0.55 else ""
    parts = [
        some(HOW_MANY[scene.count]) if noun and rng.random() < 0.4 else "",
        colour if rng.random() < 0.5 else "",
        noun or some(("thing", "stuff", "vibes", "moment")),
        some(MOVES[scene.motion]) if rng.random() < 0.4 else "",
        some(PLACES[setting]) if rng.random() < 0.5 else "",
    ]
    title = " ".join(part for part in parts if part)
    if scene.word and rng.random() < 0.3:
        title = some((f"{scene.word.upper()}! {title}", f"{title} ({scene.word})"))
    if scene.mood in SOUNDS and rng.random() < 0.12:
        title += f", {SOUNDS[scene.mood]}"
    if scene.spoken and rng.random() < 0.3:
        title += f" #{topic_of(scene.spoken, SPOKEN_TOPICS)}"
    elif rng.random() < 0.25:
        title += some((" #fyp", " :)", "!!", " #shorts", " #daily"))
    return title if rng.random() < 0.4 else title[0].upper() + title[1:]
