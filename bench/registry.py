"""Registry of plug-ins by entry point: built-ins and third-party ones alike, imported only when asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from bench import settings
from protocols.errors import BenchError, UserError, did_you_mean
from protocols.plugins import Plugin

GROUPS = {
    "extractor": "bench.extractors",
    "model": "bench.recommenders",
    "dataset": "bench.datasets",
    "protocol": "bench.protocols",
}
Options = Mapping[str, Mapping[str, Any]]
_SPEC = re.compile(r"(?P<name>[^:\[\]]*)(\[(?P<variant>[^\[\]]+)\])?(:(?P<rest>.*))?", re.DOTALL)


@cache
def names(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points of one kind by name, without importing any.

    Parameters
    ----------
    kind
        `extractor`, `model`, `dataset` or `protocol`.
    """
    return {point.name: point for point in sorted(entry_points(group=GROUPS[kind]), key=lambda p: p.name)}


def known(kind: str) -> list[str]:
    """List the names of plug-ins of a kind; of datasets also those that were prepared under a name of their own."""
    if kind != "dataset":
        return list(names(kind))
    from protocols.datasets import prepared  # listing plug-ins does without

    return [*names(kind), *prepared.names(settings.cache_folder(reading=True))]


def check_new_name(name: str) -> None:
    """Refuse a name for a prepared dataset that a plug-in has, or that could not be a folder.

    Raises
    ------
    UserError
        Naming the fault.
    """
    from protocols.datasets import prepared

    prepared.check_name(name)
    if any(name in names(kind) for kind in GROUPS) or name == "protocol":
        raise UserError(f"--name {name}: a plug-in has this name", remedy=f"--name my-{name}")


def load(kind: str, name: str) -> type[Plugin]:
    """Import one plug-in class.

    Raises
    ------
    UserError
        If no plug-in has this name (did you mean ...), or a package that it needs is not installed.
    """
    if name not in names(kind):
        if name in known(kind):
            from protocols.datasets.prepared import Prepared

            return Prepared
        raise did_you_mean(kind, name, known(kind))
    try:
        return names(kind)[name].load()
    except ModuleNotFoundError as error:
        raise UserError(
            f"{kind} {name!r} needs the package {error.name!r}, which is not installed",
            remedy=f"uv pip install {error.name}",
        ) from error
    except Exception as error:
        raise BenchError(f"{kind} {name!r} ({names(kind)[name].value}) fails to import: {error}") from error


def check_name(kind: str, spec: str) -> None:
    """Refuse an unknown name, also inside of one that wraps or joins others, by entry points alone where it can.

    Raises
    ------
    UserError
        If no plug-in has this name (did you mean ...), or as `load` for one that wraps or joins.
    """
    name, _, rest = parse(spec)
    if name not in names(kind) and name not in known(kind):
        raise did_you_mean(kind, name, known(kind))
    if kind == "extractor" and rest:
        plugin = load(kind, name)
        inside = [rest] if getattr(plugin, "wraps", "") else split(rest) if getattr(plugin, "joins", "") else []
        for one in inside:
            check_name(kind, one)


def create(kind: str, spec: str, options: Options) -> Any:
    """Make a plug-in from what the user typed.

    Parameters
    ----------
    kind
        `extractor`, `model`, `dataset` or `protocol`.
    spec
        A name, or `NAME:REST` for a plug-in that wraps another one (`shuffled:captions`), joins several
        (`concat:captions+titles`) or takes an argument of its own (`published:vectors.npy`, which may contain anything
        but a plus where it is joined).
        An extractor may have options of its own in brackets, `captions[frames=uniform:4]`; they win.
    options
        Option values by plug-in name, as collected from `--set NAME.OPTION=VALUE`.

    Returns
    -------
    Plugin
    """
    name, variant, rest = parse(spec)
    plugin = load(kind, name)
    own = dict(options.get(name, {}))
    if hasattr(plugin, "called"):
        return plugin.from_options({**own, "called": name})
    wraps, joins, argument = (getattr(plugin, what, "") for what in ("wraps", "joins", "argument"))
    if variant and (kind != "extractor" or wraps or joins):
        raise UserError(f"{kind} {name!r} takes no options in brackets", remedy="use --set, or options of the row")
    if variant:
        own |= {**_bracketed(spec, variant), "variant": variant}
    if wraps and not rest and not hasattr(plugin, wraps):  # no default
        raise UserError(f"{kind} {name!r} wraps another one: write for example {name}:captions")
    if argument and not rest:
        raise UserError(f"{kind} {name!r} needs a {argument}: write {name}:{argument.upper()}")
    if argument:
        return plugin.from_options({**own, argument: rest})
    if joins:
        return plugin.from_options({**own, joins: tuple(create(kind, part, options) for part in split(rest))})
    if rest and not wraps:
        raise UserError(f"{kind} {name!r} takes no ':' part, but got {spec!r}")
    if rest:
        return plugin.from_options({str(wraps): create(kind, rest, options), **own})
    return plugin.from_options(own)


def parse(spec: str) -> tuple[str, str, str]:
    """Take a name apart: `NAME[OPTION=VALUE,...]:REST`, where brackets and rest may be missing.

    Examples
    --------
    >>> parse("captions[frames=uniform:4]"), parse("shuffled:captions[batch=8]"), parse("published:a[1].npy")
    (('captions', 'frames=uniform:4', ''), ('shuffled', '', 'captions[batch=8]'), ('published', '', 'a[1].npy'))
    """
    found = _SPEC.fullmatch(spec)
    if found is None:
        name, _, rest = spec.partition(":")
        return name, "", rest
    return found["name"], found["variant"] or "", found["rest"] or ""


def _bracketed(spec: str, variant: str) -> dict[str, str]:
    """Read the options in brackets."""
    pairs = [part.partition("=") for part in variant.split(",")]
    if not all(name and equals and value for name, equals, value in pairs):
        raise UserError(f"{spec!r}: expected NAME[OPTION=VALUE,...], as in captions[frames=uniform:4]")
    places = [value for _, _, value in pairs if value.strip().startswith(("/", ".", "~"))]
    if places:
        raise UserError(
            f"{spec!r}: a name with {places[0]!r} in it would be another one on every machine",
            remedy="give files and folders with --set, or a hub id here",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def innermost(kind: str, spec: str) -> str:
    """Return the name of the plug-in that does the work: `captions` of `shuffled:captions`.

    Raises
    ------
    UserError
        As `load`.
    """
    name, _, rest = parse(spec)
    return innermost(kind, rest) if rest and getattr(load(kind, name), "wraps", "") else name


def split(rest: str) -> list[str]:
    """Split the names that a plug-in joins: `captions+titles` into `captions` and `titles`."""
    return [part for part in rest.split("+") if part]


def joined(kind: str, spec: str) -> list[str]:
    """Return the names that a plug-in joins: `captions` and `titles` of `shuffled:concat:captions+titles`; often none.

    Raises
    ------
    UserError
        As `load`.
    """
    name = innermost(kind, spec)
    return split(spec.partition(f"{name}:")[2]) if getattr(load(kind, name), "joins", "") else []


def at_work(kind: str, spec: str) -> list[str]:
    """Return the names of all plug-ins that do the work: `captions` and `titles` of `concat:captions+shuffled:titles`.

    Raises
    ------
    UserError
        As `load`.
    """
    return [one for part in joined(kind, spec) for one in at_work(kind, part)] or [innermost(kind, spec)]


def check_options(options: Options) -> None:
    """Refuse option values for plug-ins that do not exist or have no such options.

    Raises
    ------
    UserError
        If a key of `options` names no plug-in of any kind; as `Plugin.read_options`, where several plug-ins have the
        name if the options are none of any of them.
    """
    plugins = {name for kind in GROUPS for name in names(kind)} | {"protocol"}
    for name, values in options.items():
        if name not in plugins and name not in known("dataset"):
            raise did_you_mean("plug-in (in --set)", name, plugins)
        faults = [_fault(load(kind, name), values) for kind in GROUPS if name in names(kind)]
        if faults and all(faults):
            raise cast(UserError, faults[0])


def _fault(plugin: type[Plugin], values: Mapping[str, Any]) -> UserError | None:
    try:
        plugin.read_options(values)
    except UserError as error:
        return error
    return None
