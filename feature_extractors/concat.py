"""Concatenation of the vectors of several extractors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from protocols.errors import UserError

if TYPE_CHECKING:
    from protocols.features import Features, ItemFeatures


@dataclass(frozen=True)
class Concat(Extractor):
    """Vectors of two or more extractors side by side, each standardised on its own: `concat:captions+titles`.

    Every extractor extracts as it does alone, into its own spaces; nothing else is stored. An item is missing only
    where all of them miss it; what one of them misses is the mean of its training items. Controls stand outside
    (`shuffled:concat:captions+titles`: all vectors of an item go to another one) or inside
    (`concat:captions+shuffled:titles`: what titles add beyond more parameters).
    """

    name: ClassVar[str] = "concat"
    joins: ClassVar[str] = "parts"

    parts: tuple[Extractor, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise UserError(
                "'concat' joins two extractors or more", remedy="write them with a plus: concat:captions+titles"
            )
        for part in self.parts:
            if "vector" not in part.feature or part.joins:
                makes = {"-": "no features", "layers": "a vector a layer"}.get(part.feature, "joined vectors")
                raise UserError(
                    f"'concat' joins extractors of one vector an item, and {part.label!r} makes {makes}",
                    remedy="of layers join a single one, for example concat:single-layer:12+titles",
                )
        labels = [part.label for part in self.parts]
        if len(set(labels)) < len(labels):
            raise UserError(f"'concat' joins different extractors, not {' and '.join(map(repr, labels))}")
        object.__setattr__(self, "per_seed", any(part.per_seed for part in self.parts))

    @property
    def label(self) -> str:
        """Own name and those of the parts."""
        return f"{self.name}:{'+'.join(part.label for part in self.parts)}"

    def options(self) -> dict[str, Any]:
        """Names and options of the parts."""
        return {"parts": [{"name": part.name, **part.options()} for part in self.parts]}

    def resolved(self, simulated: bool) -> Self:
        """Resolve the parts."""
        return replace(self, parts=tuple(part.resolved(simulated) for part in self.parts))

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Extract with each part, and join.

        Raises
        ------
        UserError
            If a part makes no vectors.
        """
        from protocols.concatenated import ConcatenatedFeatures

        found = [part.extract(source, context) for part in self.parts]
        return ConcatenatedFeatures.of([one for one in found if one is not None], self.name, self.code_version)

    def on_items(self, features: ItemFeatures, seed: int) -> ItemFeatures:
        """Let each part change its own columns."""
        from protocols.concatenated import ConcatenatedItems

        if not isinstance(features, ConcatenatedItems):
            return features
        changed = [part.on_items(own, seed) for part, own in zip(self.parts, features.parts, strict=True)]
        if all(one is own for one, own in zip(changed, features.parts, strict=True)):
            return features
        return ConcatenatedItems.of(changed, features.space_id)
