"""Options of plug-ins, as typed and as declared."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from protocols.errors import UserError
from protocols.plugins import Plugin, coerce


@dataclass(frozen=True)
class Example(Plugin):
    """An example."""

    name: ClassVar[str] = "example"
    size: int = 1
    rate: float = 0.5
    title: str = "x"
    limit: int | None = None
    on: bool = True
    mode: Literal["fast", "slow"] = "fast"


def test_typed_words_become_declared_types():
    made = Example.from_options(
        {"size": "3", "rate": "1", "title": "12", "limit": "none", "on": "false", "mode": "slow"}
    )
    assert made == Example(3, 1.0, "12", None, False, "slow")
    assert made.options() == {"size": 3, "rate": 1.0, "title": "12", "limit": None, "on": False, "mode": "slow"}


@pytest.mark.parametrize(
    "options", [{"size": "1.5"}, {"size": "true"}, {"rate": "fast"}, {"mode": "medium"}, {"on": "3"}, {"size": "none"}]
)
def test_wrong_types_are_refused_with_the_name(options):
    with pytest.raises(UserError, match=f"example.{next(iter(options))}"):
        Example.from_options(options)


def test_unknown_option_says_what_was_meant():
    with pytest.raises(UserError, match="did you mean 'limit'"):
        Example.from_options({"limits": 3})


@pytest.mark.parametrize("typed", ["1e-3", "0.001", "1E-3"])
def test_numbers_may_be_written_with_an_exponent(typed):
    assert Example.from_options({"rate": typed}).rate == 0.001


def test_text_stays_text():
    assert coerce("007", str, "x") == "007"


def test_summary_is_the_first_line():
    assert Example.summary() == "An example."
