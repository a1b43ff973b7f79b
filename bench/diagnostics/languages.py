"""Language identification by py3langid: offline, deterministic, 140 languages."""

from __future__ import annotations

from functools import cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

#: Probability below which the best language is `unsure`: short texts, and words of no language.
CONFIDENCE = 0.5
UNSURE, NO_WORDS = "unsure", "no words"


def language(text: str) -> str:
    """Return the ISO 639 code of a text's language, `unsure`, or `no words` where it has no letter.

    Examples
    --------
    >>> language("A red circle moves to the left."), language("El perro corre por la playa"), language("12:30")
    ('en', 'es', 'no words')
    """
    if not any(map(str.isalpha, text)):
        return NO_WORDS
    found, confidence = _identifier().classify(text)
    return found if confidence >= CONFIDENCE else UNSURE


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
