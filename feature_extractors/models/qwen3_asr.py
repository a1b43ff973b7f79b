"""Qwen3-ASR: sound to transcript, with the scores that `transcripts` judges by."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from feature_extractors.media.audio import Sound
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import on_device
from feature_extractors.models.video_lm import GREEDY, load_model
from feature_extractors.models.whisper import Window, dump
from protocols.errors import UserError

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
MODEL_TYPE = "qwen3_asr"
# Tokens of a transcript, of four minutes of fast speech too; of random weights, which never end by themselves.
TOKENS, RANDOM_WEIGHT_TOKENS = 2048, 16


def serves(checkpoint: Checkpoint) -> bool:
    """Return True for a folder of this class."""
    path = checkpoint.folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("model_type") == MODEL_TYPE
    except (OSError, ValueError, AttributeError):
        return False


class Transcriber:
    """Sounds to one window of text each, as JSON (`whisper.parse` reads it); greedy decoding.

    The probability that nobody speaks is 1 where the model names no language for what it hears, else 0.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `video_lm.load_model`.
    language
        Code like `en`, or `auto`: the one that the model hears.
    threads
        Torch threads.

    Raises
    ------
    UserError
        If the model does not know the language.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str, language: str = "auto", threads: int = 1
    ) -> None:
        from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

        if language != "auto" and language not in LANGUAGE_CODE_TO_NAME:
            known = ", ".join(sorted(LANGUAGE_CODE_TO_NAME))
            raise UserError(f"Qwen3-ASR knows no language {language!r}", remedy=f"give auto, or one of {known}")
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device, "Qwen3ASRForConditionalGeneration")
        self._language, self._threads = None if language == "auto" else language, threads
        self._tokens = RANDOM_WEIGHT_TOKENS if checkpoint.random else TOKENS

    def __call__(self, sounds: Sequence[Sound]) -> list[str]:
        """Transcribe a batch."""
        import torch

        inputs = self.processor.apply_transcription_request(
            audio=[sound.samples for sound in sounds], language=self._language
        )
        with torch_threads(self._threads), torch.inference_mode():
            moved = on_device(dict(inputs), self.model)
            found = self.model.generate(
                **moved, **GREEDY, max_new_tokens=self._tokens, return_dict_in_generate=True, output_scores=True
            )
            scores = self.model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
        tokens = found.sequences[:, moved["input_ids"].shape[1] :]
        return [dump([self._window(ids, row)]) for ids, row in zip(tokens, scores.float(), strict=True)]

    def _window(self, ids: Any, scores: Any) -> Window:
        said = ids != self.processor.tokenizer.pad_token_id
        answer = self.processor.decode(ids, return_format="parsed")
        text = " ".join(answer["transcription"].split())
        heard = self._language is not None or answer["language"] is not None
        data = text.encode("utf-8", "surrogatepass")
        return Window(
            start=0.0,
            text=text,
            no_speech=0.0 if heard else 1.0,
            logprob=float(scores[said].mean()) if said.any() else 0.0,
            compression=len(data) / len(zlib.compress(data)),
        )
