"""Structured captions: what a video language model says of a clip in five named fields, and their text as a vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    A chain of three cached stages: `structured-captions.answers`, what the model says, word for word;
    `structured-captions.text`, the five fields of the answers that are valid, a line each, and for the others status
    `empty` with what is wrong (`structured.py`), so that no half-read answer is ever embedded;
    `structured-captions.vector`. What random weights say is never valid and is not judged: the twin's answers are
    embedded as they are. The options are those of `captions`.
    """

    name: ClassVar[str] = "structured-captions"
    paper: ClassVar[str] = "Do Recommender Systems Really Leverage Multimodal Content? (arXiv 2508.04571)"
    pocket: ClassVar[str] = "STRUCTURED"
    said: ClassVar[str] = "structured-captions.answers"

    prompt: str = "structured"
    max_new_tokens: int = 256

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the fields as text, a feature space of kind `text`; clips with an invalid answer have a reason.

        Those of the random twin are its answers.
        """
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, stage_inputs
        from feature_extractors.text import structured
        from protocols.features import FeatureSpace

        answers = super().texts(source, context)
        if self.checkpoint in ("random", "random-small"):
            return answers
        config = {"parents": [answers.space.id], "reading": structured.VERSION}
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, answers.space.provenance)
        stage = Stage(space, "fields of structured captions", 64, lambda: structured.readings)
        texts = run_stage(stage, stage_inputs(answers), context)
        return replace(texts, seconds=texts.seconds + answers.seconds)
