"""Chat models by vLLM in this process (arXiv 2309.06180): items to texts, in one call a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.serving.chat_turns import VERSION as TURNS
from feature_extractors.models.serving.chat_turns import messages, turn_of
from feature_extractors.models.serving.engines import FramesAs
from feature_extractors.text.limits import CutText
from protocols.errors import UserError

# Behaviour of this module, part of the key of every text made with it.
VERSION = [1, TURNS]


class VllmChat:
    """Items to text: one chat turn each, decoded greedily by vLLM, which batches by itself.

    Parameters
    ----------
    checkpoint
        In the layout of the Hugging Face hub.
    dtype
        Of the arithmetic.
    prompt, max_new_tokens, frames_as, longest
        As of `served_chat.ServedChat`.
    device
        `cuda`, or `cuda:N`.

    Raises
    ------
    UserError
        If vLLM is not installed, the device is no GPU, or the weights would be random.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        prompt: str,
        max_new_tokens: int,
        frames_as: FramesAs = "jpeg",
        longest: int = 0,
        threads: int = 1,
    ) -> None:
        vllm = _vllm()
        if not device.startswith("cuda"):
            raise UserError(f"vLLM needs a GPU, and the device is {device!r}", remedy="--device cuda or --engine local")
        if checkpoint.random:
            raise UserError("vLLM draws no random weights", remedy="--engine local for the random-weight baseline")
        self._prompt, self._longest, self._frames_as = prompt, longest, frames_as
        with _visible(device):
            self._llm = vllm.LLM(
                model=str(checkpoint.folder),
                dtype=dtype,
                seed=0,
                trust_remote_code=False,
                media_io_kwargs={"video": {"num_frames": -1}},
            )
        self._most = max_new_tokens
        self._sampling = vllm.SamplingParams(temperature=0.0, max_tokens=max_new_tokens)

    def __call__(self, batch: Sequence[Any]) -> list[str]:
        """Answer a batch; white space is one blank, an answer without an end is a `CutText`."""
        turns = [messages(turn_of(item, self._prompt, self._longest), self._frames_as) for item in batch]
        found = self._llm.chat(turns, self._sampling, use_tqdm=False)
        return [self._text(one.outputs[0]) for one in found]

    def _text(self, output: Any) -> str:
        text = " ".join(output.text.split())
        return CutText(text, self._most) if output.finish_reason == "length" else text

    def close(self) -> None:
        """Give the memory of the GPU back, which vLLM takes nearly whole: a text encoder may follow."""
        self._llm = None


@contextmanager
def _visible(device: str) -> Iterator[None]:
    """Show one GPU only to the process that vLLM starts inside the block; `cuda` is the first one."""
    variable, index = "CUDA_VISIBLE_DEVICES", int(device.partition(":")[2] or 0)
    before = os.environ.get(variable)
    os.environ[variable] = before.split(",")[index] if before else str(index)
    try:
        yield
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise UserError(
            f"--engine vllm needs vLLM ({error})",
            remedy="on Linux with a GPU: pip install 'video-rec-bench[vllm]'; a server of any kind: --engine openai",
        ) from error
    return vllm
