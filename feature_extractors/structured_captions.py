"""Structured captions: five named fields of a clip, asked of a video language model as JSON, and their vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class StructuredCaptions(Captions):
    """Topic, entities, mood, audience and style of each clip, asked for as JSON, and their text as a vector.

    The structured prompt of "Do Recommender Systems Really Leverage Multimodal Content?" (arXiv 2508.04571), whose
    wording is not published: the fields' names and the prompt here are ours. There the model also reads an item's text;
    here it looks at the clip alone.

    A chain of three cached stages: `structured-captions.answers`, the model's answers, word for word;
    `structured-captions.text`, the five fields of the answers that are valid, a line each, and for the others status
    `empty` with the fault (`structured.py`), so that no half-read answer is ever embedded;
    `structured-captions.vector`. Answers of random weights are never valid: the random-weight baseline embeds them as
    they are. The options are those of `captions`.
    """

    name: ClassVar[str] = "structured-captions"
    paper: ClassVar[str] = "Do Recommender Systems Really Leverage Multimodal Content? (arXiv 2508.04571)"
    pocket: ClassVar[str] = "STRUCTURED"
    answers: ClassVar[str] = "answers"

    prompt: str = "structured"
    max_new_tokens: int | None = 256

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the fields as text, a feature space of kind `text`; clips with an invalid answer have a reason.

        Those of the random-weight baseline are its answers.
        """
        from feature_extractors.pipeline.run import run_text_stage
        from feature_extractors.text import structured

        answers = super().texts(source, context)
        if self.checkpoint in ("random", "random-small"):
            return answers
        title = "fields of structured captions"
        config = {"reading": structured.VERSION}
        return run_text_stage(
            f"{self.name}.text", self.code_version, title, answers, config, structured.readings, context
        )
