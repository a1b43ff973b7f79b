"""Decoder states of clips with side texts, with readouts that keep the order of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.quantization import Quantize
from feature_extractors.models.decoder_states import StateReader
from feature_extractors.models.video_lm import Family, Front, Pixels, kinds_of, marks_of
from feature_extractors.text.plain import cut_note, plain
from protocols.features import join_notes

if TYPE_CHECKING:
    from torch import Tensor

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1


@dataclass(frozen=True, eq=False)
class ClipWithTexts(Clip):
    """A clip with its title and transcript; None where there is none."""

    title: str | None = None
    transcript: str | None = None

    @classmethod
    def of(cls, clip: Clip, title: str | None = None, transcript: str | None = None) -> ClipWithTexts:
        """Join a clip with its texts."""
        return cls(**vars(clip), title=title, transcript=transcript)


class QueryReader(StateReader):
    """Clips with title and transcript to decoder states: one chat turn of video, texts and query each.

    The turn is the clip, a line `Title: ...`, a line `Transcript: ...` and the query; a line without a text is left
    out. Texts are inserted as plain words, see `video_lm.plain`.

    After the readouts of `StateReader` come means over parts of the tokens, in the order of the tokens: `visual1` to
    `visualK` cut those of the clip into K parts, so into stretches of time; `new1` to `newN` the decoded tokens.
    Parts are cut as adaptive pooling cuts: of n tokens part i (from 0) has those from floor(i n / K) to before
    ceil((i + 1) n / K), so that there is always one.

    Parameters
    ----------
    checkpoint, family, dtype, device, prompt, new_tokens, threads, quantize, begin, pixels
        As in `StateReader`; `prompt` is the query.
    visual_parts, new_parts
        K and N; 0: none.
    longest_title, longest_transcript
        Most characters of them in the turn.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: Family,
        dtype: str,
        device: str,
        prompt: str,
        new_tokens: int = 0,
        threads: int = 1,
        quantize: Quantize = "none",
        begin: str = "",
        pixels: Pixels = (None, None),
        *,
        visual_parts: int = 0,
        new_parts: int = 0,
        longest_title: int = 200,
        longest_transcript: int = 1000,
    ) -> None:
        super().__init__(checkpoint, family, dtype, device, prompt, new_tokens, threads, quantize, begin, pixels)
        self._prompt, self._visual_parts, self._new_parts = prompt, visual_parts, new_parts
        self._longest = {"Title": longest_title, "Transcript": longest_transcript}
        self._marks = marks_of(self.processor.tokenizer)
        self._front = Front(self.processor, self.turn, family.stacks)

    def note(self, clip: ClipWithTexts) -> str:
        """Remark for the reader of a row: texts that are not read to their end."""
        texts = {"title": clip.title, "transcript": clip.transcript}
        return join_notes(*(cut_note(name, text, self._longest[name.title()]) for name, text in texts.items()))

    def turn(self, clip: ClipWithTexts) -> str:
        """Text of the turn for one clip, with one placeholder for each of its media."""
        texts = {"Title": clip.title, "Transcript": clip.transcript}
        words = {name: plain(text or "", self._marks, self._longest[name]) for name, text in texts.items()}
        lines = [*(f"{name}: {text}" for name, text in words.items() if text), *([self._prompt] * bool(self._prompt))]
        kinds = kinds_of(self.processor, len(clip.frames))
        return self._family.turn(self.processor, "\n".join(lines), kinds) + self._begin

    def _tokens(self, ids: Tensor, keep: Tensor, length: int) -> list[Tensor]:
        import torch

        found = super()._tokens(ids, keep, length)
        new = keep & (torch.arange(ids.shape[1], device=ids.device) >= length)
        return [*found, *parts(found[0], self._visual_parts), *parts(new, self._new_parts)]


def names(visual_parts: int, new_parts: int) -> list[str]:
    """Names of the readouts that `QueryReader` adds, in their order.

    Examples
    --------
    >>> names(2, 1)
    ['visual1', 'visual2', 'new1']
    """
    return [f"visual{at + 1}" for at in range(visual_parts)] + [f"new{at + 1}" for at in range(new_parts)]


def parts(tokens: Tensor, count: int) -> Sequence[Tensor]:
    """Cut marked tokens into parts of nearly one length, in their order.

    Parameters
    ----------
    tokens
        Bool [B, T], at least one a row.
    count
        Number of parts; with fewer tokens than parts, neighbours share them.

    Returns
    -------
    sequence
        `count` of bool [B, T].
    """
    place = tokens.cumsum(dim=1) - 1
    n = tokens.sum(dim=1, keepdim=True)
    return [tokens & (place >= at * n // count) & (place < -(-(at + 1) * n // count)) for at in range(count)]
