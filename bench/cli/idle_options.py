"""Options that another one leaves without effect: they are refused, never passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.core import ParameterSource

from protocols.errors import UserError


def given(option: str) -> bool:
    """Return True for an option, or the name of an argument, that was typed in the command that runs."""
    context = click.get_current_context()
    typed = (one.name for one in context.command.params if option in (*one.opts, *one.secondary_opts))
    return any(context.get_parameter_source(name or "") is ParameterSource.COMMANDLINE for name in typed)


def refuse_beside(option: str, idle: Iterable[str], remedy: str = "") -> None:
    """Refuse options that were typed and have no effect beside another.

    Raises
    ------
    UserError
        Naming the first of them.
    """
    for one in filter(given, idle):
        raise UserError(f"{one} has no effect with {option}", remedy=remedy or f"leave out {one}, or {option}")


def refuse_without(needed: str, idle: Iterable[str]) -> None:
    """Refuse options that were typed and have no effect without another, which was not.

    Raises
    ------
    UserError
        Naming the first of them.
    """
    for one in filter(given, idle):
        raise UserError(f"{one} has no effect without {needed}", remedy=f"add {needed}, or leave out {one}")
