"""One word: the decoder state from which a video language model would describe a clip in one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.single_layer import StatesOfOneLayer

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class OneWord(StatesOfOneLayer):
    """The last layer's state behind "... in one word:", where the model has to put a clip into one token.

    The readout of NoteLLM-2 (arXiv 2405.16789) without its training: there the prompt is `compress into one word: "`
    and notes are pictures with texts; the wording here is ours. The options are those of `hidden-states`, whose stored
    states with this prompt are the ones that are taken.
    """

    name: ClassVar[str] = "one-word"
    paper: ClassVar[str] = "NoteLLM-2 (arXiv 2405.16789)"

    prompt: str = "one-word"
    begin: str = "This video in one word:"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Read the states of all clips and keep the last layer's at the last token."""
        return self.states(source, context).layer(-1, "last")
