"""Factors of a demo clip, random scenes, and their gold descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FPS = 8
MIN_FRAMES, MAX_FRAMES = 16, 32

COUNTS = ("one", "two", "three")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
SHAPES = ("circle", "square", "triangle", "cross", "ring")
MOTIONS = ("left", "right", "up", "down", "circling", "bouncing", "swinging")
SETTINGS = ("sky", "sea", "forest", "night", "desert", "city")
WORD_TOPICS = {
    "food": ("cake", "soup", "tofu"),
    "music": ("jazz", "drum", "harp"),
    "sport": ("goal", "swim", "judo"),
    "travel": ("taxi", "boat", "visa"),
}
WORDS = tuple(word for words in WORD_TOPICS.values() for word in words)

TEXTURES = ("plain", "stripes", "dots", "checker")
CAMERAS = ("static", "pan", "zoom", "shake")
PALETTES = ("warm", "cool", "muted", "vivid")

RHYTHMS = ("none", "slow", "fast")
MOODS = ("bright", "dark")
SPOKEN_TOPICS = {
    "weather": ("thunder", "snowfall", "sunshine", "rainbow"),
    "animals": ("tiger", "rabbit", "dolphin", "eagle"),
    "garden": ("tomato", "flower", "honey", "cabbage"),
    "family": ("mother", "baby", "birthday", "wedding"),
}
SPOKEN = tuple(word for words in SPOKEN_TOPICS.values() for word in words)

#: Shares of clips with no written word, with no sound at all, and of the sounding ones with a spoken word.
NO_WORD, SILENT, SPEAKING = 0.35, 0.15, 0.35

#: Combinations that no training clip of the pocket checkpoints ever shows; the demo's own clips do show them.
HELD_BACK = {
    ("colour", "shape"): (("red", "triangle"), ("blue", "ring"), ("yellow", "square")),
    ("motion", "setting"): (("left", "forest"), ("circling", "city"), ("up", "night")),
}


@dataclass(frozen=True)
class Scene:
    """Complete description of one clip.

    Attributes
    ----------
    frames
        Number of frames at 8 fps.
    count, colour, shape, motion, setting, word
        The *named* visual attributes, the only ones that any training text of the captioner names. `word` is the
        written word, "" for none.
    texture, speed, size, camera, palette
        The *unnamed* visual factors. `speed` and `size` lie in [0, 1].
    rhythm, mood, spoken
        Heard only. `mood` "none" means a silent clip; `spoken` is "" when nobody speaks.
    phase_x, phase_y, shift, light, pitch
        Nuisances that nobody likes or dislikes, in [0, 1]: start of the path, offset of the background, its
        brightness, key of the chord.
    """

    frames: int
    count: str
    colour: str
    shape: str
    motion: str
    setting: str
    word: str
    texture: str
    speed: float
    size: float
    camera: str
    palette: str
    rhythm: str
    mood: str
    spoken: str
    phase_x: float
    phase_y: float
    shift: float
    light: float
    pitch: float

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / FPS


def is_held_back(scene: Scene) -> bool:
    """Return True for a scene with a combination of attributes listed in `HELD_BACK`."""
    return any((getattr(scene, a), getattr(scene, b)) in pairs for (a, b), pairs in HELD_BACK.items())


def sample_scene(rng: np.random.Generator, *, held_back: bool | None = None) -> Scene:
    """Draw a scene; all named and unnamed factors are uniform and independent.

    Parameters
    ----------
    rng
        Source of randomness.
    held_back
        None: anything; False: never a held-back combination; True: always one.
    """
    while True:
        scene = _draw(rng)
        if held_back is None or is_held_back(scene) == held_back:
            return scene


def _draw(rng: np.random.Generator) -> Scene:
    def pick(values: tuple[str, ...]) -> str:
        return values[int(rng.integers(len(values)))]

    silent = rng.random() < SILENT
    return Scene(
        frames=int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1)),
        count=pick(COUNTS),
        colour=pick(COLOURS),
        shape=pick(SHAPES),
        motion=pick(MOTIONS),
        setting=pick(SETTINGS),
        word="" if rng.random() < NO_WORD else pick(WORDS),
        texture=pick(TEXTURES),
        speed=float(rng.random()),
        size=float(rng.random()),
        camera=pick(CAMERAS),
        palette=pick(PALETTES),
        rhythm="none" if silent else pick(RHYTHMS),
        mood="none" if silent else pick(MOODS),
        spoken=pick(SPOKEN) if not silent and rng.random() < SPEAKING else "",
        phase_x=float(rng.random()),
        phase_y=float(rng.random()),
        shift=float(rng.random()),
        light=float(rng.random()),
        pitch=float(rng.random()),
    )


def topic_of(word: str, topics: Mapping[str, tuple[str, ...]]) -> str:
    """Topic of a written or spoken word; "none" for no word."""
    return next((topic for topic, words in topics.items() if word in words), "none")


def named_attributes(scene: Scene) -> dict[str, str]:
    """Return the attributes that training texts may name; `word` is "none" when nothing is written."""
    named = {a: getattr(scene, a) for a in ("count", "colour", "shape", "motion", "setting", "word")}
    return named | {"word": scene.word or "none"}


def all_factors(scene: Scene) -> dict[str, float | str]:
    """Return every factor that users may like, for probes: categories as words, `speed` and `size` as numbers."""
    return {
        **named_attributes(scene),
        "word_topic": topic_of(scene.word, WORD_TOPICS),
        "texture": scene.texture,
        "speed": scene.speed,
        "size": scene.size,
        "camera": scene.camera,
        "palette": scene.palette,
        "rhythm": scene.rhythm,
        "mood": scene.mood,
        "spoken": scene.spoken or "none",
        "spoken_topic": topic_of(scene.spoken, SPOKEN_TOPICS),
    }


def gold_description(scene: Scene) -> str:
    """Describe a scene in English, naming every factor: the knowledge of a perfect extractor.

    Only the control `truth` and probes may read it. `speed` and `size` are given in three steps.

    Examples
    --------
    >>> gold_description(sample_scene(np.random.default_rng(1))).split(". ")[0]
    'three red circles bouncing in the city, no word'
    """
    noun = scene.shape if scene.count == "one" else scene.shape + ("es" if scene.shape == "cross" else "s")
    size = ("small", "medium", "large")[min(int(scene.size * 3), 2)]
    speed = ("slowly", "steadily", "quickly")[min(int(scene.speed * 3), 2)]
    motion = {"circling": "circling", "bouncing": "bouncing", "swinging": "swinging"}.get(
        scene.motion, f"moving {scene.motion}"
    )
    written = f"the word {scene.word} about {topic_of(scene.word, WORD_TOPICS)} is written" if scene.word else "no word"
    if scene.mood == "none":
        sound = "silence"
    else:
        said = (
            f"a voice says {scene.spoken} about {topic_of(scene.spoken, SPOKEN_TOPICS)}" if scene.spoken else "no voice"
        )
        beat = {"none": "no beat", "slow": "calm beat", "fast": "rapid beat"}[scene.rhythm]
        sound = f"{scene.mood} chord, {beat}, {said}"
    return (
        f"{scene.count} {scene.colour} {noun} {motion} in the {scene.setting}, {written}. "
        f"{size} size, {speed}, {scene.texture} texture, {scene.camera} camera, {scene.palette} palette. {sound}."
    )
