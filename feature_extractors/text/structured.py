"""Structured answers: a model's JSON about a clip, read tolerantly, checked strictly, and written as plain lines.

Tolerant as to where the JSON stands (behind a greeting, in a fence) and how names of fields are written (`Mood`);
strict as to what it holds. The output of a model is hostile input: it may be megabytes long, nested without end, or
HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from feature_extractors.media.result import Failure
from feature_extractors.text.plain import plain

# Behaviour of everything here, part of the key of every feature made with it.
VERSION = 1
FIELDS = ("topic", "entities", "mood", "audience", "style")
#: Most characters of an answer and of each text in it, and most texts of a field.
LONGEST, LONGEST_TEXT, MOST = 20_000, 500, 50


class InvalidAnswerError(ValueError):
    """Invalid answer; the message is the reason."""


def parse(answer: str) -> dict[str, list[str]]:
    r"""Read the five fields out of an answer.

    Parameters
    ----------
    answer
        Anything. The first JSON object in it that is valid counts, whatever stands around it.

    Returns
    -------
    dict
        The texts of each of `FIELDS`, in that order: at least one each, on one line, none twice. Other fields of the
        object are left out.

    Raises
    ------
    InvalidAnswerError
        If there is no such object; with the fault of the first one.

    Examples
    --------
    >>> parse('```json\n{"Topic": "sea", "entities": ["a boat"], "mood": "mild", "audience": "all", "style": "a"}\n```')
    {'topic': ['sea'], 'entities': ['a boat'], 'mood': ['mild'], 'audience': ['all'], 'style': ['a']}
    """
    if len(answer) > LONGEST:
        raise InvalidAnswerError(f"the answer is longer than {LONGEST} characters")
    wrong = None
    for found in _objects(answer):
        try:
            return _checked(found)
        except InvalidAnswerError as error:
            wrong = wrong or error
    raise wrong or InvalidAnswerError("the answer is no JSON")


def lines(fields: dict[str, list[str]]) -> str:
    r"""Write parsed fields as text for a sentence encoder, a line a field.

    Examples
    --------
    >>> lines({"topic": ["sea"], "entities": ["a boat", "a gull"]})
    'topic: sea\nentities: a boat, a gull'
    """
    return "\n".join(f"{name}: {', '.join(texts)}" for name, texts in fields.items())


def readings(answers: Sequence[str]) -> list[str | Failure]:
    """Return the lines of each answer, or a failure: the model of a stage."""
    return [_reading(answer) for answer in answers]


def _reading(answer: str) -> str | Failure:
    try:
        return lines(parse(answer))
    except InvalidAnswerError as error:
        return Failure("empty", f"invalid answer: {error}")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written, names that occur twice included."""


def _objects(text: str) -> Iterator[_Pairs]:
    """Yield the JSON objects in a text that lie in no other one."""
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_no_number)
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
            yield found
        except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, a nest without end
            end = at + 1
        at = text.find("{", end)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _checked(found: _Pairs) -> dict[str, list[str]]:
    named: dict[str, Any] = {}
    for name, value in found:
        key = name.strip().casefold()
        if key in FIELDS and key in named:
            raise InvalidAnswerError(f"field {key!r} stands twice")
        named[key] = value
    for name in FIELDS:
        if name not in named:
            raise InvalidAnswerError(f"field {name!r} is missing")
    return {name: _texts(name, named[name]) for name in FIELDS}


def _texts(name: str, value: Any) -> list[str]:
    several = [value] if isinstance(value, str) else value
    if isinstance(several, _Pairs) or not isinstance(several, list) or not all(isinstance(one, str) for one in several):
        raise InvalidAnswerError(f"field {name!r} is neither a text nor a list of texts")
    if len(several) > MOST or any(len(one) > LONGEST_TEXT for one in several):
        raise InvalidAnswerError(f"field {name!r} is longer than {MOST} texts of {LONGEST_TEXT} characters")
    cleaned = dict.fromkeys(plain(one, (), LONGEST_TEXT) for one in several)
    texts = [one for one in cleaned if re.search(r"\w", one)]
    if not texts:
        raise InvalidAnswerError(f"field {name!r} is empty")
    return texts
