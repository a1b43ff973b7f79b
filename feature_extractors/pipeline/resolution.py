"""Resolution of a whole chain before any item is read: its checkpoints, prompts, options and feature spaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models.checkpoint.cards import NOT_LISTED
from feature_extractors.models.checkpoint.checkpoints import AbsentCheckpointError
from feature_extractors.store import catalogue
from protocols.errors import UserError
from protocols.features import FeatureSpace
from protocols.progress import Quiet


def resolve_chain(extractor: Extractor, context: ExtractContext, simulated: bool = False) -> list[FeatureSpace]:
    """Resolve everything that an extraction needs but the items: the chain runs over none.

    Parameters
    ----------
    extractor, context
        Of the extraction.
    simulated
        True for data with a gold description of every item.

    Returns
    -------
    list
        Feature spaces of its stages, in the order of the chain.

    Raises
    ------
    UserError
        What the extraction would meet at any stage; of a checkpoint that is not there with the option that names it.
    """
    found: list[FeatureSpace] = []
    nothing = ItemSource([], [], [], truth=dict if simulated else None)
    dry = replace(
        context,
        overwrite="never",
        only=None,
        progress=Quiet(),
        report=lambda report: found.append(report.space) if report.space is not None else None,
    )
    try:
        extractor.extract(nothing, dry)
    except AbsentCheckpointError as error:
        options = [f"--set {option}=DIR" for option in options_of(extractor, error.word)]
        if not options:
            raise
        raise UserError(
            str(error), remedy=f"give a local directory: {' or '.join(options)}; 'pocket' needs no network"
        ) from error
    return found


def options_of(extractor: Extractor, value: str) -> list[str]:
    """Return the options, `NAME.OPTION`, of an extractor and of those inside it that have a value."""
    found = []
    for option in fields(extractor):
        given = getattr(extractor, option.name)
        inside = given if isinstance(given, tuple) else (given,)
        for one in inside:
            found += options_of(one, value) if isinstance(one, Extractor) else []
        if given == value:
            found.append(f"{extractor.name}.{option.name}")
    return list(dict.fromkeys(found))


def unlisted(spaces: list[FeatureSpace]) -> list[str]:
    """Name the checkpoints of a chain that have no card, a line each."""
    made = [space.provenance for space in spaces]
    pairs = [pair for one in made for pair in zip(one.get("checkpoints", ()), one.get("licences", ()), strict=False)]
    return [
        f"checkpoint {name} is not in our table (bench list checkpoints): its licence is not known here"
        for name in dict.fromkeys(name for name, licence in pairs if licence == NOT_LISTED)
    ]


def near_spaces(spaces: list[FeatureSpace], context: ExtractContext) -> Iterator[str]:
    """Name the stored spaces that differ in a single setting from one that is not stored, a line each.

    Parameters
    ----------
    spaces
        As `resolve_chain` returns them.
    context
        Of the extraction; an object store is not looked through.
    """
    if "://" in str(context.store):
        return
    entries = {entry.id: entry.space for entry in catalogue.find_all(Path(context.store)) if entry.space is not None}
    for space in spaces:
        if space.id in entries:
            continue
        for other in entries.values():
            setting = _only_difference(space, other)
            if setting:
                theirs, ours = other.config.get(setting), space.config.get(setting)
                yield (
                    f"{space.extractor} is not stored with {setting} {_short(ours)}: it is made anew; "
                    f"{other.id} differs in that alone ({_short(theirs)})"
                )


def _only_difference(space: FeatureSpace, other: FeatureSpace) -> str:
    if (space.extractor, space.version, space.kind) != (other.extractor, other.version, other.kind):
        return ""
    names = {*space.config, *other.config}
    different = [name for name in names if space.config.get(name) != other.config.get(name)]
    return different[0] if len(different) == 1 and different[0] != "parents" else ""


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
