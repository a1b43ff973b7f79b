"""Detection of refusals of a model by a shipped list of phrases, `refusals.txt` beside this file."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

# Typographic apostrophes, as some models write them.
STRAIGHT = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{MODIFIER LETTER APOSTROPHE}": "'"})
# Characters shown of a phrase, and before it.
SHOWN, BEFORE = 80, 20


def patterns() -> list[str]:
    """Read the regular expressions of the list, without its comments."""
    lines = resources.files("bench.diagnostics").joinpath("refusals.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def phrase(text: str) -> str:
    """Return the first phrase of the list in a text, with its surroundings; "" without one.

    A match is no proof: somebody may say such a phrase in a clip, and models decline in other words, too.

    Examples
    --------
    >>> phrase("I'm sorry, but I can't see the video."), phrase("I can't believe it, sorry!")
    ("I'm sorry, but I can't see the video.", '')
    """
    flat = " ".join(text.translate(STRAIGHT).split())
    found = _compiled().search(flat)
    if found is None:
        return ""
    start = max(found.start() - BEFORE, 0)
    return flat[start : start + SHOWN]


@cache
def _compiled() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns()), re.IGNORECASE)
