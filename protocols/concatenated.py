"""Concatenated features of several extractors; each part keeps its own gaps, mean and standardisation."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from protocols.errors import BenchError, UserError
from protocols.features import Features, FeatureSpace, ItemFeatures, Standardisation, join_notes


def _columns(widths: Sequence[int]) -> list[slice]:
    """Columns of each part, given their widths."""
    return [slice(*ends) for ends in pairwise(accumulate(widths, initial=0))]


def _joined_reason(parts: Sequence[Features], at: int) -> str:
    """Return the remarks of the parts on an item, and why some lack it."""
    lacking = [part for part in parts if part.status[at] != "ok"]
    notes = [str(part.reason[at]) for part in parts if part.status[at] == "ok"]
    return join_notes(*notes, *(f"no {p.space.extractor}: {p.reason[at] or p.status[at]}" for p in lacking))


@dataclass(frozen=True, eq=False)
class ConcatenatedFeatures(Features):
    """Concatenated vectors of several extractors, one vector an item.

    An item is `ok` where any part is; the columns of a part that it lacks hold zeros until `align`.

    Attributes
    ----------
    parts
        As extracted; their `values` are columns of the whole.
    """

    parts: tuple[Features, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[Features], extractor: str, version: int) -> ConcatenatedFeatures:
        """Concatenate the features of several extractors.

        Parameters
        ----------
        parts
            One vector an item each, of the same items in the same order.
        extractor, version
            Of the feature space that is made.

        Raises
        ------
        UserError
            If a part is of another kind.
        BenchError
            If the items differ.
        """
        for part in parts:
            if part.space.kind != "vector":
                raise UserError(
                    f"{extractor} concatenates vectors, and {part.space.id} is of kind {part.space.kind}",
                    remedy="concatenate a single layer, for example single-layer:12",
                )
            if list(part.item_ids) != list(parts[0].item_ids):
                raise BenchError(f"{part.space.id} and {parts[0].space.id} hold different items: cannot concatenate")
        given = [part.space.provenance for part in parts]
        names = dict.fromkeys(name for one in given for name, entries in one.items() if isinstance(entries, list))
        provenance = {name: [entry for one in given for entry in one.get(name, [])] for name in names}
        config = {"parents": [part.space.id for part in parts]}
        ok = np.stack([part.ok for part in parts])
        reason = np.array([_joined_reason(parts, at) for at in range(ok.shape[1])] + [None], dtype=object)[:-1]
        values = np.concatenate([part.values for part in parts], axis=1)
        columns = _columns([part.values.shape[1] for part in parts])
        return cls(
            FeatureSpace(extractor, version, "vector", config, provenance),
            parts[0].item_ids,
            values,
            np.where(ok.any(axis=0), "ok", parts[0].status).astype(object),
            reason,
            np.stack([part.seconds for part in parts]).sum(axis=0, dtype=np.float32),
            usage=dict(ChainMap(*(dict(part.usage) for part in parts))),
            parts=tuple(replace(part, values=values[:, at]) for part, at in zip(parts, columns, strict=True)),
        )

    @property
    def digest(self) -> str:
        """Hash of the rows of the parts; an item that a part lacks differs from an item of zeros."""
        return hashlib.sha256("\0".join(part.digest for part in self.parts).encode()).hexdigest()[:16]

    def align(self, items: Sequence[str], training: np.ndarray) -> ConcatenatedItems:
        """Align each part for itself; see `Features.align`. Absent values are the part's own mean of training items."""
        return ConcatenatedItems.of([part.align(items, training) for part in self.parts], self.space.id)


@dataclass(frozen=True, eq=False)
class ConcatenatedItems(ItemFeatures):
    """Concatenated features aligned to the items of one fold.

    An item is present where any part is. `transform` standardises every part as its own does; `scale` is 1.

    Attributes
    ----------
    parts
        Their `values` are columns of the whole.
    """

    parts: tuple[ItemFeatures, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[ItemFeatures], space_id: str) -> ConcatenatedItems:
        """Concatenate aligned features, each part with its own standardisation.

        Parameters
        ----------
        parts
            Of the same items, one vector an item.
        space_id
            Of the whole.
        """
        made = cls(
            space_id,
            np.concatenate([part.values for part in parts], axis=1),
            np.any([part.present for part in parts], axis=0),
            np.concatenate([part.mean for part in parts]),
            1.0,
            transform=_transform(parts),
            parts=tuple(parts),
        )
        return made._with(made.values, [part.present for part in parts])

    def _with(self, values: np.ndarray, present: Sequence[np.ndarray], **more: Any) -> ConcatenatedItems:
        """Replace the values of the whole and of its parts, which are no copies."""
        views = zip(self.parts, self.columns, present, strict=True)
        parts = tuple(replace(part, values=values[:, at], present=has) for part, at, has in views)
        return replace(self, values=values, parts=parts, **more)

    @property
    def columns(self) -> list[slice]:
        """Columns of `values` that belong to each part."""
        return _columns([part.values.shape[1] for part in self.parts])

    def standardised(self, how: Standardisation, training: np.ndarray) -> ConcatenatedItems:
        """Standardise each part for itself; see `ItemFeatures.standardised`."""
        if how == "scale":
            return self
        return ConcatenatedItems.of([part.standardised(how, training) for part in self.parts], self.space_id)

    def shuffled(self, seed: int) -> ConcatenatedItems:
        """Derange whole vectors: all parts of an item, gaps included, go to the same other item."""
        order = self.derangement(seed)
        present = [part.present[order] for part in self.parts]
        return self._with(self.values[order], present, space_id=f"shuffled:{self.space_id}")

    def constant(self) -> ConcatenatedItems:
        """Give every item one constant vector; see `ItemFeatures.constant`."""
        made = super().constant()
        return self._with(made.values, [part.present for part in self.parts], space_id=made.space_id)


def _transform(parts: Sequence[ItemFeatures]) -> np.ndarray:
    """One transform for all columns: factors [D], or a matrix [D, K] of blocks if any part has a matrix."""
    factors = [
        np.full(part.values.shape[1], 1 / part.scale, dtype=np.float32) if part.transform is None else part.transform
        for part in parts
    ]
    if all(factor.ndim == 1 for factor in factors):
        return np.concatenate(factors)
    blocks = [np.diag(factor) if factor.ndim == 1 else factor for factor in factors]
    made = np.zeros((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)), dtype=np.float32)
    rows, columns = (_columns([block.shape[axis] for block in blocks]) for axis in (0, 1))
    for block, row, column in zip(blocks, rows, columns, strict=True):
        made[row, column] = block
    return made
