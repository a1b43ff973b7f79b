"""Rows of grids: a product of models, extractors, fusions and layers, with exclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from bench import registry
from bench.runs.rows import RowSpec, only_fusion, two_views
from protocols.errors import UserError, did_you_mean
from recommenders.encoder.fusions import Fusion

AXES = ("models", "extractors", "fusions", "layers")


def expand(grid: Mapping[str, Any], exclude: Sequence[Mapping[str, str]] = ()) -> list[RowSpec]:
    """Multiply out a grid; leave out combinations that cannot be, and those that are excluded.

    A model that uses no features and the extractor `id` stand once; an extractor of vectors with every fusion; one of
    layers with every fusion and every way to choose among layers. A model without an item encoder
    stands with its only fusion for every extractor of features, whatever the fusions; of layers with each single one.
    The fusion `cross-attention` stands with extractors that join two others.

    Parameters
    ----------
    grid
        Lists under `models`, `extractors`, `fusions` and, for extractors of layers, `layers`.
    exclude
        Rows that match all the words of one of these (`model`, `extractor`, `fusion`) are left out.

    Raises
    ------
    UserError
        If an axis or a plug-in is unknown, or nothing is left.
    """
    for axis in grid:
        if axis not in AXES:
            raise did_you_mean("axis of the grid", axis, AXES)
    axes = {axis: [str(value) for value in _list(grid.get(axis, []), axis)] for axis in AXES}
    extractors, fusions = axes["extractors"] or ["id"], axes["fusions"] or ["gate"]
    rows: list[RowSpec] = []
    for name in axes["models"] or ["sasrec"]:
        if not registry.load("model", name.partition(":")[0]).uses_features:  # type: ignore[attr-defined]
            rows.append(RowSpec(name))
            continue
        for extractor in extractors:
            feature = registry.load("extractor", registry.innermost("extractor", extractor)).feature  # type: ignore[attr-defined]
            only = only_fusion(name)
            able = [kind for kind in fusions if kind != "cross-attention" or two_views(extractor)]
            kinds, layers = ([only] if only else able), axes["layers"] or ["softmax"]
            if feature == "-":
                rows += [] if only else [RowSpec(name, extractor, "id")]
            elif feature == "layers":
                made = [f"{kind}/{how}" for kind, how in product(kinds, layers)]
                rows += [RowSpec(name, extractor, f) for f in made if not only or Fusion.parse(f).layer is not None]
            else:
                rows += [RowSpec(name, extractor, kind) for kind in kinds]
    kept = [row for row in dict.fromkeys(rows) if not any(_matches(row, rule) for rule in exclude)]
    if not kept:
        raise UserError("the grid is empty: everything is excluded")
    return kept


def _list(value: Any, axis: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"grid.{axis} must be a list, got {value!r}")
    return value


def _matches(row: RowSpec, rule: Mapping[str, str]) -> bool:
    for key in rule:
        if key not in ("model", "extractor", "fusion"):
            raise did_you_mean("key of an exclusion", key, ("model", "extractor", "fusion"))
    return all(getattr(row, key) == value for key, value in rule.items())
