"""Control extractors: ids alone, random vectors, shuffled features, their mean, and the gold description."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.options import TextEncoderOptions
from protocols.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from protocols.features import Features, ItemFeatures


@dataclass(frozen=True)
class Id(Extractor):
    """No features: items are told apart by their ids alone."""

    name: ClassVar[str] = "id"
    feature: ClassVar[str] = "-"

    def extract(self, source: ItemSource, context: ExtractContext) -> None:
        """Return None: there is nothing to extract."""
        return


@dataclass(frozen=True)
class _Wrapping(Extractor):
    """Base of `shuffled:X`, `mean:X` and `random:X`: they extract X and put something else in its place."""

    wraps: ClassVar[str] = "inner"

    inner: Extractor

    def __post_init__(self) -> None:
        if self.inner.feature == "-":
            raise UserError(
                f"{self.name}:{self.inner.name} makes no sense: {self.inner.name!r} has no features",
                remedy=f"wrap an extractor that has some, for example {self.name}:captions",
            )
        # Shuffled random vectors are drawn per seed, too, and shuffled layers are layers.
        object.__setattr__(self, "per_seed", self.inner.per_seed)
        object.__setattr__(self, "feature", self.inner.feature)

    @property
    def label(self) -> str:
        """Own name and that of the wrapped extractor."""
        return f"{self.name}:{self.inner.label}"

    def options(self) -> dict[str, Any]:
        """Name and options of the wrapped extractor."""
        return {"inner": {"name": self.inner.name, **self.inner.options()}}

    def resolved(self, simulated: bool) -> Self:
        """Resolve the wrapped extractor."""
        return replace(self, inner=self.inner.resolved(simulated))

    def extract(self, source: ItemSource, context: ExtractContext) -> Features | None:
        """Return the wrapped extractor's features, as they are."""
        return self.inner.extract(source, context)


@dataclass(frozen=True)
class Random(_Wrapping):
    """Random vectors, N(0, 1): dimensions and parameters without any content.

    `random:captions` stands in for the captions: as many dimensions, for the items that have a caption; of layers one
    state's dimensions, and of joined vectors those of each part.

    Attributes
    ----------
    inner
        The extractor that it stands in for; None: no other's.
    dim
        Length of a vector that stands in for none.
    """

    name: ClassVar[str] = "random"
    per_seed: ClassVar[bool] = True

    inner: Extractor | None = None  # type: ignore[assignment]  # others must wrap one
    dim: int = 128

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise UserError(f"random.dim={self.dim}: expected at least 1")
        if self.inner is None:
            object.__setattr__(self, "wraps", "")
            return
        super().__post_init__()
        object.__setattr__(self, "per_seed", True)
        object.__setattr__(self, "feature", "vector")

    @property
    def label(self) -> str:
        """Own name and that of the extractor that it stands in for."""
        return super().label if self.inner else self.own_name

    def options(self) -> dict[str, Any]:
        """Name and options of the extractor that it stands in for, else the dimensions."""
        return super().options() if self.inner else {"dim": self.dim}

    def resolved(self, simulated: bool) -> Self:
        """Resolve the extractor that it stands in for."""
        return super().resolved(simulated) if self.inner else self

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Draw each item's vector from a hash of seed and item id, so that it depends on no other item."""
        import numpy as np

        from protocols.features import Features, FeatureSpace

        if self.inner is not None:
            found = self.inner.extract(source, context)
            assert found is not None  # an extractor without features is refused
            return self._like(found, context.seed)
        count = len(source.item_ids)
        space = FeatureSpace("random", self.code_version, "vector", {"dim": self.dim, "seed": context.seed})
        nothing = np.full(count, "", dtype=object)
        status = np.full(count, "ok", dtype=object)
        values = _normal(source.item_ids, self.dim, str(context.seed))
        return Features(space, list(source.item_ids), values, status, nothing, np.zeros(count, dtype=np.float32))

    def _like(self, found: Features, seed: int) -> Features:
        """Draw vectors for the items that have a feature, part by part where features are joined."""
        from protocols.concatenated import ConcatenatedFeatures
        from protocols.features import FeatureSpace

        if isinstance(found, ConcatenatedFeatures):
            parts = [self._like(part, seed) for part in found.parts]
            return ConcatenatedFeatures.of(parts, self.name, self.code_version)
        config = {"dim": found.values.shape[-1], "seed": seed, "parents": [found.space.id]}
        space = FeatureSpace("random", self.code_version, "vector", config)
        values = _normal(found.item_ids, found.values.shape[-1], f"{seed}\0{found.space.id}")
        values[~found.ok] = 0
        return replace(found, space=space, values=values, scales=None)

    def on_items(self, features: ItemFeatures, seed: int) -> ItemFeatures:
        """Leave the vectors as they are."""
        return features


def _normal(item_ids: Sequence[str], dim: int, key: str) -> np.ndarray:
    """Draw float32 [N, dim] by key and item id."""
    import numpy as np

    values = np.zeros((len(item_ids), dim), dtype=np.float32)
    for at, item_id in enumerate(item_ids):
        seed = hashlib.blake2b(f"{key}\0{item_id}".encode(), digest_size=16).digest()
        values[at] = np.random.default_rng(int.from_bytes(seed, "big")).standard_normal(dim, dtype=np.float32)
    return values


@dataclass(frozen=True)
class Shuffled(_Wrapping):
    """The vectors of another extractor, each given to a wrong item: same numbers, no meaning."""

    name: ClassVar[str] = "shuffled"

    def on_items(self, features: ItemFeatures, seed: int) -> ItemFeatures:
        """Derange the vectors among the items that have one."""
        return self.inner.on_items(features, seed).shuffled(seed)


@dataclass(frozen=True)
class Mean(_Wrapping):
    """One constant vector for all items: same parameters, no information."""

    name: ClassVar[str] = "mean"

    def on_items(self, features: ItemFeatures, seed: int) -> ItemFeatures:
        """Give every item the same vector."""
        return self.inner.on_items(features, seed).constant()


@dataclass(frozen=True)
class Truth(TextEncoderOptions):
    """The gold description of a simulated clip, through the same text encoder: the ceiling for any extractor.

    The options are those of `TextEncoderOptions`.
    """

    name: ClassVar[str] = "truth"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode the gold descriptions.

        Raises
        ------
        UserError
            If the data is not simulated: nobody knows the truth then.
        """
        from feature_extractors.pipeline.stage import text_inputs

        if source.truth is None:
            raise UserError(
                "the extractor 'truth' needs simulated data: real clips come without a gold description",
                remedy="use it with --dataset demo",
            )
        gold, what = source.truth(), "gold description"
        texts = [gold.get(item_id) for item_id in source.item_ids]
        return self.encode(text_inputs(source.item_ids, texts, what), what, context)
