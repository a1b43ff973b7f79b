"""Titles: the words that come with an item, turned into a vector by a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models import checkpoint_resolution

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class TextEncoded(Extractor):
    """What extractors share that turn texts at hand into vectors.

    Attributes
    ----------
    text_encoder, text_revision
        A directory, a hub id (with a revision), `pocket`, `random`; `auto`: pocket on simulated data, else BGE-large.
    dtype
        Of the encoder's arithmetic.
    """

    text_encoder: str = "auto"
    text_revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket encoder on simulated data, by the real one elsewhere."""
        from feature_extractors.pipeline.text_embedding import REAL

        encoder = checkpoint_resolution.resolved(self.text_encoder, simulated, REAL)
        return replace(self, text_encoder=encoder)

    def encode(self, source: ItemSource, texts: Sequence[str | None], what: str, context: ExtractContext) -> Features:
        """Encode one text an item; `what` it is (`title`) stands in reasons and beside the progress bar."""
        from feature_extractors.pipeline.stage import text_inputs
        from feature_extractors.pipeline.text_embedding import text_vectors

        return text_vectors(
            f"{self.name}.vector",
            text_inputs(source.item_ids, texts, what),
            [],
            context,
            checkpoint=self.text_encoder,
            revision=self.text_revision,
            dtype=self.dtype,
            title=f"{what} vectors",
        )


@dataclass(frozen=True)
class Titles(TextEncoded):
    """Item titles turned into vectors by a sentence encoder: the metadata baseline.

    The options are those of `TextEncoded`.
    """

    name: ClassVar[str] = "titles"
    paper: ClassVar[str] = "BGE (arXiv 2309.07597)"
    licence: ClassVar[str] = "bge-large-en-v1.5: MIT"
    checkpoints: ClassVar[str] = "BAAI/bge-large-en-v1.5"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all titles."""
        return self.encode(source, source.titles, "title", context)
