"""Captions from a video language model of the Qwen2.5-VL kind (arXiv 2502.13923), pocket and real alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_extractors.backbones.checkpoints import Checkpoint
from feature_extractors.backbones.threads import torch_threads
from feature_extractors.backbones.video_lm import Family, batch_inputs, chat_turn, load_model
from feature_extractors.media import Clip

# Behaviour of the captioner, part of the key of every feature made with it.
VERSION = 1
FAMILY = Family("Qwen-VL", 1, ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), stacks=False, counts_positions=False)


class Captioner:
    """Clips to text: one chat turn of video and prompt, greedy decoding.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    prompt
        Text of the user's turn, after the video.
    max_new_tokens
        Longest answer.
    threads
        Torch threads.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str, prompt: str, max_new_tokens: int, threads: int = 1
    ) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device)
        self._threads = threads
        # The checkpoint's own sampling settings mean nothing to greedy decoding and only cause warnings.
        greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        self._generation = {**greedy, "max_new_tokens": max_new_tokens}
        if checkpoint.twin:
            self._generation |= self._talkative(max_new_tokens)
        self._text = chat_turn(self.processor, prompt)

    def _talkative(self, max_new_tokens: int) -> dict[str, Any]:
        """Settings that keep random weights from saying nothing, which would be no control.

        With tied embeddings they repeat the last token of the prompt, a line break.
        """
        tokenizer = self.processor.tokenizer
        end = tokenizer.eos_token_id
        blank = [
            i for i in range(len(tokenizer)) if i != end and not tokenizer.decode([i], skip_special_tokens=True).strip()
        ]
        return {"min_new_tokens": min(8, max_new_tokens), "suppress_tokens": blank}

    def inputs(self, clips: Sequence[Clip]) -> Any:
        """Model inputs of a batch, on the model's device."""
        return batch_inputs(self.processor, self._text, clips).to(self.model.device, self.model.dtype)

    def __call__(self, clips: Sequence[Clip]) -> list[str]:
        """Caption a batch."""
        import torch

        with torch_threads(self._threads), torch.inference_mode():
            inputs = self.inputs(clips)
            tokens = self.model.generate(**inputs, **self._generation)
            answers = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(answers, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]
