"""Defaults that depend on the checkpoint: those of this repository's small checkpoints, and those of real ones.

An option that nobody has set holds a word for it (`auto`, None or ""). Here, and nowhere else, the word is replaced:
by the value for `pocket` and `random`, or by the one for real checkpoints. Keys and records hold what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from feature_extractors.base import Extractor
from feature_extractors.models.checkpoint import cards, defaults
from feature_extractors.models.checkpoint.checkpoints import is_ours
from feature_extractors.models.checkpoint.precision import best_dtype

Some = TypeVar("Some", bound=Extractor)


@dataclass(frozen=True)
class Auto:
    """Values of an option that is not set.

    Attributes
    ----------
    pocket, real
        For checkpoints of this repository, and for real ones.
    unset
        Value that stands for none.
    by
        Option that holds the checkpoint.
    """

    pocket: Any
    real: Any
    unset: Any = "auto"
    by: str = "checkpoint"


def settled(extractor: Some, device: str = "cpu") -> Some:
    """Replace the options of an extractor, and of those inside it, that are not set.

    Parameters
    ----------
    extractor
        With its checkpoints resolved; one that still says `auto` is taken for a real one.
    device
        Torch device, which decides the precision of real checkpoints.
    """
    rules = _rules(type(extractor))
    changed: dict[str, Any] = {}
    for option in fields(extractor):
        value = getattr(extractor, option.name)
        if isinstance(value, Extractor):
            changed[option.name] = settled(value, device)
        elif isinstance(value, tuple) and any(isinstance(part, Extractor) for part in value):
            changed[option.name] = tuple(settled(part, device) for part in value)
        elif option.name in rules and value == rules[option.name].unset:
            changed[option.name] = _value(extractor, rules[option.name], option.name, device)
    return replace(extractor, **changed) if changed else extractor


def option(extractor: Extractor, name: str) -> Any:
    """Return the value of one option, settled for a CPU where it is not set."""
    rule, value = _rules(type(extractor)).get(name), getattr(extractor, name)
    return _value(extractor, rule, name, "cpu") if rule is not None and value == rule.unset else value


def _value(extractor: Extractor, rule: Auto, name: str, device: str) -> Any:
    by = next(one for one in (rule.by, "checkpoint", "text_encoder") if hasattr(extractor, one))
    word = str(getattr(extractor, by))
    if is_ours(word):
        return rule.pocket
    if name == "dtype":
        word = getattr(extractor, "default_checkpoint", defaults.TEXT_ENCODER) if word == "auto" else word
        return best_dtype(device, cards.named(word))
    return rule.real


def _rules(kind: type[Extractor]) -> Mapping[str, Auto]:
    """Rules of a class and of those that it inherits from; the nearest wins."""
    found: dict[str, Auto] = {}
    for one in reversed(kind.__mro__):
        found |= vars(one).get("autos", {})
    return found
