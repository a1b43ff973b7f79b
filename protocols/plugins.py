"""Base class of plug-ins: a frozen dataclass whose fields are its options.

An extractor, a recommender, a dataset or a protocol is one small file with one frozen dataclass: the class
docstring gives its purpose and paper, the fields are the options with their defaults, and
`--set NAME.FIELD=VALUE` on the command line replaces one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from protocols.errors import UserError, did_you_mean


@dataclasses.dataclass(frozen=True)
class Plugin:
    """Base of all plug-ins.

    Attributes
    ----------
    name
        The word users type; equals the entry point's name.
    code_version
        Bumped when the plug-in's behaviour changes, so that older results are not taken for its own.
    later_options
        Options that were added later: at their defaults they stand neither in records nor in keys, so that records of
        before still are of the same row.
    """

    name: ClassVar[str]
    code_version: ClassVar[int] = 1
    later_options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make a plug-in from option values, which may be strings as typed on a command line; see `read_options`."""
        return cls(**cls.read_options(options))

    @classmethod
    def read_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Read option values, which may be strings as typed on a command line.

        Raises
        ------
        UserError
            If an option is unknown (did you mean ...), its value has the wrong type, is a number that is not finite,
            or a negative count: a whole number, where the default is not negative.
        """
        hints = typing.get_type_hints(cls)
        known = [f.name for f in dataclasses.fields(cls) if f.init]
        defaults = {f.name: f.default for f in dataclasses.fields(cls)}
        values = {}
        for key, value in options.items():
            if key not in known:
                raise did_you_mean(f"option of {cls.name}", key, known)
            values[key] = coerce(value, hints[key], f"{cls.name}.{key}")
            _check_number(values[key], defaults.get(key), f"{cls.name}.{key}")
        return values

    def options(self) -> dict[str, Any]:
        """All options with their values, JSON-able, as in records and keys; see `later_options`."""
        values = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self) if f.init}
        return {
            name: value
            for name, (value, default) in values.items()
            if name not in self.later_options or value != default
        }

    @classmethod
    def summary(cls) -> str:
        """First line of the class docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def _check_number(value: Any, default: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}={value}: expected a finite number")
    count = isinstance(value, int) and isinstance(default, int) and not isinstance(default, bool)
    if count and value < 0 <= default:
        raise UserError(f"{where}={value}: expected a number from 0 on")


def coerce(value: Any, hint: Any, where: str) -> Any:
    """Convert a typed-in value to the declared type; the error names the expected one.

    Examples
    --------
    >>> coerce("0.5", float, "x.y"), coerce("3", int | None, "x.y"), coerce("none", int | None, "x.y")
    (0.5, 3, None)
    """
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value in choices:
            return value
        raise UserError(f"{where}={value!r}: expected one of {', '.join(map(repr, choices))}")
    if isinstance(value, str) and str not in allowed:
        import yaml

        value = yaml.safe_load(value) if value.lower() != "none" else None
    if value is None and type(None) in allowed:
        return None
    if isinstance(value, str) and float in allowed:  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):
            return float(value)
    for kind in allowed:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        origin = typing.get_origin(kind) or kind
        if isinstance(origin, type) and isinstance(value, origin) and not (kind is int and isinstance(value, bool)):
            return value
    names = " or ".join(getattr(k, "__name__", str(k)) for k in allowed)
    raise UserError(f"{where}={value!r}: expected {names}")
