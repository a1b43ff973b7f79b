"""Titles: the words that come with an item, turned into a vector by a sentence encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import TextEncoderOptions

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class Titles(TextEncoderOptions):
    """Item titles turned into vectors by a sentence encoder: the metadata baseline.

    The options are those of `TextEncoderOptions`.
    """

    name: ClassVar[str] = "titles"
    paper: ClassVar[str] = "BGE (arXiv 2309.07597)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.TEXT_ENCODER,)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all titles."""
        from feature_extractors.pipeline.stage import text_inputs

        return self.encode(text_inputs(source.item_ids, source.titles, "title"), "title", context)
