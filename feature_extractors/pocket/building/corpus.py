"""Training texts of the pocket checkpoints: prompts, captions, paraphrases and pseudo-word sentences.

Texts about clips are made from the *named* attributes alone (`named_attributes` of a scene), so the unnamed factors,
the sound and the spoken words can appear in none of them; `UNNAMED` lists the words that stand for those, and
pseudo-words that happen to spell one are thrown away too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from protocols.datasets.demo import factors

#: Number, colour, shape, motion, setting and written word of a clip, as `named_attributes` returns them.
Named = Mapping[str, str]

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "count": factors.COUNTS,
    "colour": factors.COLOURS,
    "shape": factors.SHAPES,
    "motion": factors.MOTIONS,
    "setting": factors.SETTINGS,
    "word": ("none", *factors.WORDS),
}

#: Words for what no training text may name: textures, speed, size, camera, palettes, sound and spoken words.
UNNAMED: frozenset[str] = frozenset(
    {
        *factors.TEXTURES, *factors.CAMERAS, *factors.PALETTES, *factors.MOODS, *factors.SPOKEN,
        *factors.SPOKEN_TOPICS, *(r for r in factors.RHYTHMS if r != "none"),
        "striped", "stripe", "dot", "dotted", "checkered", "texture", "camera", "panning", "zooming", "shaky",
        "shaking", "palette", "slowly", "quickly", "steadily", "speed", "size", "small", "medium", "large", "big",
        "tiny", "sound", "silence", "silent", "chord", "beat", "calm", "rapid", "voice", "says", "spoken", "rhythm",
    }
)  # fmt: skip

#: The package's default prompt first; training draws among all of them so that the wording matters little.
PROMPTS = (
    "Describe this video.",
    "Describe the video.",
    "Describe this video in one sentence.",
    "What is happening in this clip?",
    "What do you see?",
    "Write a caption for this video.",
    "Give a short description of the clip.",
)
SYSTEM_MESSAGES = ("You are a helpful assistant.", "You describe videos.")

_PLACE = {"sky": "in the sky", "sea": "on the sea", "forest": "in the forest", "night": "in the night",
          "desert": "in the desert", "city": "in the city"}  # fmt: skip
_VERB = {"left": "moving left", "right": "moving right", "up": "moving up", "down": "moving down"}


def plural(count: str, shape: str) -> str:
    """Return the noun for `count` shapes.

    Examples
    --------
    >>> plural("one", "cross"), plural("two", "cross"), plural("three", "ring")
    ('cross', 'crosses', 'rings')
    """
    return shape if count == "one" else shape + ("es" if shape == "cross" else "s")


def verb(motion: str) -> str:
    """Return the verb for the motion of the shapes.

    Examples
    --------
    >>> verb("up"), verb("circling")
    ('moving up', 'circling')
    """
    return _VERB.get(motion, motion)


def caption(named: Named) -> str:
    """Return the training caption of these attributes.

    Examples
    --------
    >>> caption(dict(count="two", colour="red", shape="cross", motion="up", setting="sea", word="jazz"))
    'Two red crosses moving up on the sea. The word jazz is written.'
    """
    noun = plural(named["count"], named["shape"])
    written = "No word is written." if named["word"] == "none" else f"The word {named['word']} is written."
    seen = f"{named['count'].capitalize()} {named['colour']} {noun}"
    return f"{seen} {verb(named['motion'])} {_PLACE[named['setting']]}. {written}"


def read_caption(text: str) -> dict[str, str]:
    """Return the attribute values that a caption names; "" where it names none, `none` only for "No word".

    Examples
    --------
    >>> read_caption("Two red crosses moving up on the sea. No word is written.")["shape"]
    'cross'
    """
    words = re.findall(r"[a-z]+", text.lower())
    singular = {plural("two", shape): shape for shape in factors.SHAPES}
    words = [singular.get(word, word) for word in words]
    found = {a: next((w for w in words if w in values), "") for a, values in ATTRIBUTES.items()}
    if "no word" in " ".join(words):
        found["word"] = "none"
    return found


def paraphrase(named: Named, rng: np.random.Generator) -> str:
    """Paraphrase a caption; about one time in three only a part of it, as titles do."""
    noun = plural(named["count"], named["shape"])
    motion = named["motion"]
    verb = str(
        rng.choice({m: [f"moving {m}", f"going {m}", m] for m in _VERB}.get(motion, [motion, f"{motion} along"]))
    )
    place = str(
        rng.choice([_PLACE[named["setting"]], f"{named['setting']} scene", f"with the {named['setting']} behind"])
    )
    if named["word"] == "none":
        written = str(rng.choice(["no word", "no word is written", "nothing written", ""]))
    else:
        word = named["word"]
        written = str(rng.choice([f"the word {word} is written", f"the word {word}", f"it reads {word}", word]))
    parts = [
        str(rng.choice([f"{named['count']} {named['colour']} {noun}", f"{named['colour']} {noun}, {named['count']}"])),
        verb,
        place,
        written,
    ]
    if rng.random() < 0.33:
        keep = rng.random(len(parts)) < 0.6
        keep[rng.integers(len(parts))] = True
        parts = [part for part, kept in zip(parts, keep, strict=True) if kept]
    if rng.random() < 0.6:
        parts = [parts[i] for i in rng.permutation(len(parts))]
    text = (", " if rng.random() < 0.4 else " ").join(part for part in parts if part)
    opening = str(rng.choice(["", "", "", "a video of ", "this clip shows ", "we see ", "look: "]))
    return opening + text + ("." if rng.random() < 0.5 else "")


def change_one(named: Named, rng: np.random.Generator) -> dict[str, str]:
    """Return the attributes with exactly one of them changed: the hardest negative."""
    attribute = str(rng.choice(list(ATTRIBUTES)))
    others = [value for value in ATTRIBUTES[attribute] if value != named[attribute]]
    return {**named, attribute: str(rng.choice(others))}


_ONSETS = "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gl gr pl pr qu sh sl sm sn sp st str sw th tr"
_VOWELS = "a e i o u a e i o u ai ea ee ie oo ou oa y"
_CODAS = ". . . . b ck d g k l ll m n nd ng nt p r rd rm rn s ss st t th tch x ing ed er le s es"
_ONSETS_, _VOWELS_, _CODAS_ = (tuple(part.replace(".", "") for part in s.split()) for s in (_ONSETS, _VOWELS, _CODAS))

FILLERS = ("the", "a", "an", "of", "in", "on", "with", "and", "is", "are", "to", "at", "by", "for", "about", "this",
           "that", "it", "from", "as")  # fmt: skip


def pseudo_word(rng: np.random.Generator) -> str:
    """Return a pronounceable word of one to three syllables that means nothing and is not in `UNNAMED`."""
    while True:
        n = int(rng.choice([1, 2, 2, 2, 3]))
        start = "" if rng.random() < 0.12 else str(rng.choice(_ONSETS_))
        middle = "".join(str(rng.choice(_VOWELS_)) + str(rng.choice(_ONSETS_)) for _ in range(n - 1))
        word = start + middle + str(rng.choice(_VOWELS_)) + str(rng.choice(_CODAS_))
        if len(word) > 2 and word not in UNNAMED:
            return word


def pseudo_sentence(rng: np.random.Generator, n: int | None = None) -> list[str]:
    """Return `n` (None: 4 to 32) pseudo-words and fillers."""
    n = int(rng.integers(4, 33)) if n is None else n
    return [str(rng.choice(FILLERS)) if rng.random() < 0.15 else pseudo_word(rng) for _ in range(n)]


def reworded(words: list[str], rng: np.random.Generator) -> list[str]:
    """Return a positive of a pseudo-sentence: phrases in another order, a few words lost, a few fillers added."""
    cuts = np.sort(
        rng.choice(np.arange(1, len(words)), size=min(len(words) - 1, int(rng.integers(1, 5))), replace=False)
    )
    phrases = [list(part) for part in np.split(np.array(words, dtype=object), cuts)]
    mixed = [word for i in rng.permutation(len(phrases)) for word in phrases[i]]
    kept = [word for word in mixed if rng.random() < 0.92] or mixed
    for _ in range(int(rng.integers(0, 3))):
        kept.insert(int(rng.integers(len(kept) + 1)), str(rng.choice(FILLERS)))
    return kept


def altered(words: list[str], rng: np.random.Generator) -> list[str]:
    """Return a near miss of a pseudo-sentence: one to three of its words replaced by others, phrases reordered."""
    changed = list(words)
    for i in rng.choice(len(words), size=min(len(words), int(rng.integers(1, 4))), replace=False):
        changed[int(i)] = pseudo_word(rng)
    return reworded(changed, rng)


def join(words: list[str], rng: np.random.Generator) -> str:
    """Write words as a sentence, with commas and full stops here and there."""
    marks = rng.choice(["", "", "", "", "", "", ",", "."], size=len(words))
    return " ".join(word + str(mark) for word, mark in zip(words, marks, strict=True))


def is_held_back(named: Named) -> bool:
    """Return True for attributes with a combination that no training clip and no training text has."""
    return any((named[a], named[b]) in pairs for (a, b), pairs in factors.HELD_BACK.items())


def random_named(rng: np.random.Generator) -> dict[str, str]:
    """Draw attributes; held-back combinations of the rendered clips are left out of the texts as well."""
    while True:
        named = {a: str(rng.choice(values)) for a, values in ATTRIBUTES.items()}
        if not is_held_back(named):
            return named


def captioner_texts(seed: int = 0, n: int = 4000) -> Iterator[str]:
    """Yield texts for the captioner's tokenizer: all prompts and many captions."""
    rng = np.random.default_rng([seed, 0xC0])
    for _ in range(20):
        yield from PROMPTS
        yield from SYSTEM_MESSAGES
        yield "system user assistant"
    for _ in range(n):
        yield caption(random_named(rng))


def encoder_texts(seed: int = 0, n: int = 4000) -> Iterator[str]:
    """Yield texts for the text encoder's tokenizer: captions, paraphrases and pseudo-word sentences."""
    rng = np.random.default_rng([seed, 0xE0])
    for _ in range(n):
        named = random_named(rng)
        yield caption(named)
        yield paraphrase(named, rng)
        yield join(pseudo_sentence(rng), rng)
