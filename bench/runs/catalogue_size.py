"""Rows made to fit the size of a catalogue: options that models choose by it, and rows that it leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bench.cells import Cell
from bench.runs.rows import RowSpec
from protocols.ranking_problem import Fold
from recommenders.base import Recommender

if TYPE_CHECKING:
    from feature_extractors.base import Extractor


class Row(NamedTuple):
    """Row of a board as asked for, with its cell and its plug-ins; see `bench.runs.rows.resolve`."""

    spec: RowSpec
    cell: Cell
    model: Recommender
    extractor: Extractor | None


class Fitting(NamedTuple):
    """Rows that fit a catalogue.

    Attributes
    ----------
    rows
        Those that can be fitted.
    chosen
        By the id of a cell: the options that its model has chosen, in words.
    left_out
        A sentence for each row that is too large.
    """

    rows: list[Row]
    chosen: dict[str, str]
    left_out: list[str]


def fit(
    specs: Sequence[RowSpec],
    resolved: Sequence[tuple[Cell, Recommender, Extractor | None]],
    folds: Sequence[Fold],
    say: Callable[[str], None] = lambda line: None,
) -> Fitting:
    """Let models choose their options by the number of items that they are fitted on.

    What is chosen is decided by the earliest fold's first fit, so that it is the same for all folds and lies before
    every border; a row is left out if the largest fold is too large for it.

    Parameters
    ----------
    specs, resolved
        The rows as asked for, and their cells and plug-ins.
    say
        Called with a line for each choice, and for each row that is left out.

    Raises
    ------
    UserError
        If no row is left.
    """
    first, most = min(_items(folds[:1]), default=0), max(_items(folds), default=0)
    found, refused = Fitting([], {}, []), None
    for row in (Row(spec, *plugins) for spec, plugins in zip(specs, resolved, strict=True)):
        error = row.model.too_large(most)
        if error is not None:
            refused = error
            found.left_out.append(str(error))
            say(f"left out: {error}; {error.remedy}")
            continue
        model, before = row.model.for_catalogue(first), row.model.options()
        cell = replace(row.cell, options={**row.cell.options, "model": model.options()})
        words = [f"{key} {value}" for key, value in model.options().items() if value != before.get(key)]
        if words:
            found.chosen[cell.id] = f"{row.cell.label}: {', '.join(words)}, chosen for {first:,} items"
            say(found.chosen[cell.id])
        found.rows.append(row._replace(model=model, cell=cell))
    if refused is not None and not found.rows:
        raise refused
    return found


def _items(folds: Sequence[Fold]) -> list[int]:
    """Numbers of items that the fits of some folds see."""
    return [fold.info[fit]["items"] for fold in folds for fit in ("fitted", "refitted") if fit in fold.info]
