"""Training texts of the structured pocket captioner: answers in JSON, and summaries of a chain of parts.

Both are made from the *named* attributes alone, as every text of `corpus.py`. Nothing in a simulated clip has a mood,
an audience or a style, so these three follow from what is seen by a fixed rule, the tables `MOOD`, `AUDIENCE` and
`STYLE`: they are other words for motion, written word and setting and tell nothing that topic and entities do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_extractors.pocket.building.corpus import (
    Named,
    caption,
    captioner_texts,
    change_one,
    is_held_back,
    plural,
    pseudo_sentence,
    random_named,
    read_caption,
    verb,
)
from feature_extractors.text.prompt_files import read_prompt

#: Mood by motion.
MOOD = {"left": "restless", "right": "restless", "up": "hopeful", "down": "drowsy", "circling": "dreamy",
        "bouncing": "playful", "swinging": "playful"}  # fmt: skip
#: Audience by whether a word is written.
AUDIENCE = {False: "anybody", True: "people who can read"}
#: Style by setting.
STYLE = {"sky": "airy animation", "sea": "wavy animation", "forest": "leafy animation", "night": "starry animation",
         "desert": "sandy animation", "city": "urban animation"}  # fmt: skip

#: Share of the chains in which something is said, and the most parts and words of a chain.
SPEAKING, PARTS, WORDS = 0.5, 4, 6
#: What a prompt tells where nothing is said, and what a summary tells where something is.
NO_SPEECH, HEARD = "no speech", "Words are heard."


def fields(named: Named) -> dict[str, str | list[str]]:
    """Return the five fields of the right answer for these attributes.

    Examples
    --------
    >>> fields(dict(count="two", colour="red", shape="cross", motion="up", setting="sea", word="jazz"))["entities"]
    ['two red crosses', 'the word jazz']
    """
    written = named["word"] != "none"
    seen = f"{named['count']} {named['colour']} {plural(named['count'], named['shape'])}"
    return {
        "topic": f"{named['setting']}, {verb(named['motion'])}",
        "entities": [seen, f"the word {named['word']}"] if written else [seen],
        "mood": MOOD[named["motion"]],
        "audience": AUDIENCE[written],
        "style": STYLE[named["setting"]],
    }


def answer(named: Named) -> str:
    """Return the JSON that the captioner learns to answer with."""
    return json.dumps(fields(named))


def read_fields(said: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the attribute values that topic and entities of a valid answer name; "" where they name none.

    Examples
    --------
    >>> read_fields({"topic": ["sea, moving up"], "entities": ["two red crosses"]})["word"]
    'none'
    """
    found = read_caption(" ".join([*said["topic"], *said["entities"]]))
    if not any("word" in one for one in said["entities"]):
        found["word"] = "none"
    return found


@dataclass(frozen=True)
class Chain:
    """Captions of a video's parts with its transcript, and the description of the whole.

    Attributes
    ----------
    named
        What the video shows.
    captions
        Of the parts, a line each.
    transcript
        What is said, `NO_SPEECH` for nothing.
    """

    named: Named
    captions: Sequence[str]
    transcript: str

    @property
    def said(self) -> bool:
        """True if anything is spoken."""
        return self.transcript != NO_SPEECH

    @property
    def prompt(self) -> str:
        """Turn of the user, without a video."""
        prompt = read_prompt("summarise-chain").replace("{captions}", "\n".join(self.captions))
        return prompt.replace("{transcript}", self.transcript)

    @property
    def summary(self) -> str:
        """Training answer: the description of the whole."""
        return caption(self.named) + (f" {HEARD}" if self.said else "")


def draw_chain(rng: np.random.Generator) -> Chain:
    """Draw a chain of one to four parts of eight seconds; of three or four parts one may be misread in one attribute.

    The words are without a meaning, so that none of them is learned; the summary tells only that there are some.
    """
    named = random_named(rng)
    parts = [named] * int(rng.integers(1, PARTS + 1))
    if len(parts) > 2 and rng.random() < 0.5:
        parts[int(rng.integers(len(parts)))] = _misread(named, rng)
    last = 8 * len(parts) - float(rng.integers(0, 60)) / 10
    ends = [*(8.0 * k for k in range(1, len(parts))), last]
    lines = [f"{8 * k:g}-{end:g} s: {caption(part)}" for k, (part, end) in enumerate(zip(parts, ends, strict=True))]
    said = bool(rng.random() < SPEAKING)
    words = " ".join(pseudo_sentence(rng, int(rng.integers(1, WORDS + 1))))
    transcript = words.capitalize() + "." if rng.random() < 0.5 else words
    return Chain(named, lines, transcript if said else NO_SPEECH)


def _misread(named: Named, rng: np.random.Generator) -> dict[str, str]:
    while is_held_back(other := change_one(named, rng)):
        pass
    return other


def structured_texts(seed: int = 0, n: int = 3000) -> Iterator[str]:
    """Yield texts for the tokenizer: those of the captioner, answers in JSON, chains and the prompts of both."""
    rng = np.random.default_rng([seed, 0x57])
    yield from captioner_texts(seed, n)
    for _ in range(200):
        yield read_prompt("structured")
    for _ in range(n):
        yield answer(random_named(rng))
    for _ in range(60):
        chain = draw_chain(rng)
        yield chain.prompt
        yield chain.summary
