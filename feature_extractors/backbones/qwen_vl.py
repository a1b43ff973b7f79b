"""Captions from a video language model of the Qwen2.5-VL kind (arXiv 2502.13923), pocket and real alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_extractors.backbones.checkpoints import (
    TWIN_SEED,
    Checkpoint,
    check_files,
    check_keys,
    hide_loading_bars,
    unreadable,
)
from feature_extractors.backbones.threads import torch_threads
from feature_extractors.media import Clip
from protocols.errors import BenchError

# Behaviour of this loader, part of the key of every feature made with it.
VERSION = 1
NEEDED = ("config.json", "tokenizer.json|tokenizer_config.json", "preprocessor_config.json|processor_config.json")


def load_model(checkpoint: Checkpoint, dtype: str, device: str) -> tuple[Any, Any]:
    """Load processor and model with the Auto classes of transformers.

    Parameters
    ----------
    checkpoint
        Any checkpoint that `AutoModelForImageTextToText` knows.
    dtype
        `float32`, `bfloat16` or `float16`; given always, or a half-precision file would run in half precision.
    device
        Torch device.

    Returns
    -------
    tuple
        (processor, model), the model in evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    folder = str(checkpoint.folder)
    hide_loading_bars()
    check_files(checkpoint.folder, NEEDED)
    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        if checkpoint.twin:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(TWIN_SEED)
                model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
            _adopt_generation_config(model, folder)
        else:
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
            model, info = loaded
            check_keys(checkpoint, info)
    except BenchError:
        raise
    except Exception as error:
        raise unreadable(checkpoint, error) from error
    # Answers are read from the end of the sequence: shorter prompts are filled up on the left.
    processor.tokenizer.padding_side = "left"
    return processor, model.eval().to(device)


def _adopt_generation_config(model: Any, folder: str) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig.from_pretrained(folder)


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
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        self._text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

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
        """Model inputs of a batch, on the model's device.

        Frames are chosen already, so the processor must not sample; without `video_metadata` it would take every clip
        for 24 frames per second and place the frames wrongly in time.
        """
        return self.processor(
            text=[self._text] * len(clips),
            videos=[clip.frames for clip in clips],
            video_metadata=[clip.metadata for clip in clips],
            do_sample_frames=False,
            padding=True,
            return_tensors="pt",
        ).to(self.model.device, self.model.dtype)

    def __call__(self, clips: Sequence[Clip]) -> list[str]:
        """Caption a batch."""
        import torch

        with torch_threads(self._threads), torch.inference_mode():
            inputs = self.inputs(clips)
            tokens = self.model.generate(**inputs, **self._generation)
            answers = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(answers, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]
