"""Text generation from texts alone, by a video language model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.quantization import Quantize
from feature_extractors.models.generation import Answering
from feature_extractors.models.token_batching import Call, calls
from feature_extractors.models.video_lm import Pixels, chat_turn, for_preparing, marks_of
from feature_extractors.text.plain import plain

# Behaviour of this module, part of the key of every text made with it.
VERSION = 1


@dataclass(frozen=True, eq=False)
class PromptFields:
    """Texts that a prompt is filled with.

    Attributes
    ----------
    fields
        Lines of text by the name that stands for them in the prompt, `{name}`.
    note
        Remark for the reader of the row.
    """

    fields: Mapping[str, Sequence[str]]
    note: str = ""


def filled_prompt(prompt: str, fields: PromptFields, marks: Sequence[str], longest: int) -> str:
    """Fill the fields of a prompt.

    Lines of unknown origin lose their `marks`, so that they cannot end the turn, and all behind `longest` characters;
    what looks like a field in one is not filled.
    """
    texts = {name: "\n".join(plain(line, marks, longest) for line in lines) for name, lines in fields.fields.items()}
    return re.sub(r"\{(\w+)\}", lambda found: texts.get(found[1], found[0]), prompt)


class TextAnswers(Answering):
    """Words to words: one chat turn without a video each.

    Parameters
    ----------
    checkpoint, dtype, device, max_new_tokens, threads, quantize, pixels
        As of `Answering`; no frame is read here.
    prompt
        Text of the user's turn; `{name}` stands for a field.
    longest
        Most characters of a line of a field.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        prompt: str,
        max_new_tokens: int,
        longest: int,
        threads: int = 1,
        quantize: Quantize = "none",
        pixels: Pixels = (None, None),
    ) -> None:
        super().__init__(checkpoint, dtype, device, prompt, max_new_tokens, threads, quantize, pixels)
        self._longest = longest

    def _set_up(self, checkpoint: Checkpoint) -> None:
        self._front = for_preparing(self.processor)
        self._marks = marks_of(self.processor.tokenizer)
        chat_turn(self._front, self._prompt, ())  # before the first text: does the template run?

    def turn(self, fields: PromptFields) -> str:
        """Return one turn of the user, as the checkpoint's own chat template writes it."""
        return chat_turn(self._front, filled_prompt(self._prompt, fields, self._marks, self._longest), ())

    def prepare(self, batch: Sequence[PromptFields]) -> list[Call]:
        """Model inputs of a batch, cut into calls by their tokens."""
        inputs: Any = self._front(text=[self.turn(fields) for fields in batch], padding=True, return_tensors="pt")
        return calls(inputs)
