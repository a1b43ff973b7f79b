"""LinkedOut: decoder states of a video language model that is asked about a clip, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.transcripts import SpeechOptions
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.models.decoder_states import StateReader
    from feature_extractors.pipeline.stage import Inputs
    from protocols.features import Features


@dataclass(frozen=True)
class LinkedOut(SpeechOptions, HiddenStates):
    """Decoder states of a video language model that is asked a query and begins to answer it.

    From the paper (arXiv 2512.16891): a frozen LLaVA-OneVision, raw frames, a promptable query, optional further
    modalities in the prompt, states of several layers, and of each layer "old and new tokens", which a mixture of
    experts over layers condenses while it is trained. Its code is not public. Ours is the reading that old tokens are
    those of the context (clip, texts, query) and new ones those that are decoded greedily behind it; so are the wording
    of the query, the number of tokens and all pooling.

    A feature is float16 [L, R, D] as of `hidden-states`: old tokens are the readouts `visual`, `prompt`, `last` and
    `mean`, new ones `new`. `visual_parts` and `new_parts` add means over parts of the clip's and of the decoded
    tokens, for fusions that learn to choose among tokens (`moe` attends over all that is there). An item takes
    2 L R D bytes, 0.2 MB with LLaVA-OneVision 0.5B (25 layers of 896) and no parts, 0.9 MB with 8 and 8.

    Options: those of `hidden-states`, `SpeechOptions`.

    Attributes
    ----------
    checkpoint
        As of `hidden-states`; `pocket` is one of the LLaVA-OneVision kind.
    prompt
        The query.
    new_tokens
        Tokens to decode; 0: none, and no readout `new`.
    title, transcript
        True: the item's title, or its transcript as of `transcripts`, stands in the prompt. Items without one are asked
        without it. Text of unknown origin is inserted as plain words: it cannot end the turn.
    longest_title, longest_transcript
        Most characters of them in the prompt.
    visual_parts, new_parts
        Parts that the clip's and the decoded tokens are cut into, each a readout; 0: none. With `new_parts` equal to
        `new_tokens` every decoded token is one, unless the answer ends earlier.
    """

    name: ClassVar[str] = "linkedout"
    paper: ClassVar[str] = "LinkedOut (arXiv 2512.16891)"
    pocket: ClassVar[str] = "LLAVA_ONEVISION"

    prompt: str = "recommend"
    new_tokens: int = 8
    title: bool = False
    transcript: bool = False
    longest_title: int = 200
    longest_transcript: int = 1000
    visual_parts: int = 0
    new_parts: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(1, "longest_title", "longest_transcript")
        self.check_least(0, "visual_parts", "new_parts")
        if self.new_parts > self.new_tokens:
            raise UserError(
                f"{self.name}: new_parts={self.new_parts} of {self.new_tokens} new tokens",
                remedy="set new_tokens at least as high as new_parts",
            )

    def _inputs(self, clips: Inputs, source: ItemSource, context: ExtractContext) -> Inputs:
        from feature_extractors.models.query_states import ClipWithTexts
        from feature_extractors.pipeline.side_texts import with_side_texts

        nothing: list[str | None] = [None] * len(source.item_ids)
        titles = source.titles if self.title else nothing
        speech: Features | list[str | None] = self.transcripts(source, context) if self.transcript else nothing
        return with_side_texts(clips, ClipWithTexts.of, titles, speech)

    def _reader(self) -> Callable[..., StateReader]:
        from feature_extractors.models.query_states import QueryReader

        return partial(
            QueryReader,
            visual_parts=self.visual_parts,
            new_parts=self.new_parts,
            longest_title=self.longest_title,
            longest_transcript=self.longest_transcript,
        )

    def _more_readouts(self) -> list[str]:
        from feature_extractors.models.query_states import names

        return names(self.visual_parts, self.new_parts)

    def _more_config(self) -> dict[str, Any]:
        from feature_extractors.models.query_states import VERSION

        cuts = {"title": self.longest_title} if self.title else {}
        return {"query": VERSION, "told": cuts | ({"transcript": self.longest_transcript} if self.transcript else {})}
