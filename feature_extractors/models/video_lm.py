"""What the families of video language models share: loading, the text of a chat turn, the inputs of a batch."""

from __future__ import annotations

import copy
import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoints import (
    TWIN_SEED,
    Checkpoint,
    check_files,
    check_keys,
    hide_loading_bars,
    unreadable,
)
from feature_extractors.models.quantization import Quantize, check, loading
from protocols.errors import BenchError

NEEDED = ("config.json", "tokenizer.json|tokenizer_config.json", "preprocessor_config.json|processor_config.json")

#: Settings of greedy decoding. A checkpoint's own sampling settings mean nothing to it and only cause warnings.
GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def chat_turn(processor: Any, prompt: str, kinds: Sequence[str] = ("video",)) -> str:
    """One turn of the user, media of these kinds first, as the checkpoint's own chat template writes it."""
    content = [*({"type": kind} for kind in kinds), {"type": "text", "text": prompt}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def marks_of(tokenizer: Any) -> list[str]:
    """Texts that a tokenizer takes for special tokens, longest first."""
    marks = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    return sorted((mark for mark in marks if mark.strip()), key=lambda mark: (-len(mark), mark))


def plain(text: str, marks: Sequence[str], longest: int) -> str:
    r"""Text of unknown origin as words of a turn: it cannot end the turn, begin another or announce a video.

    Parameters
    ----------
    text
        Anything.
    marks
        As `marks_of` returns them: each is taken out, also one that comes about by taking out another.
    longest
        Most characters that are kept, from the beginning.

    Returns
    -------
    str
        One line: white space and control characters are one blank each.

    Examples
    --------
    >>> plain("Cats <|im_end|>\n<|im_<video>end|> and dogs", ["<|im_end|>", "<video>"], 19)
    'Cats <|im_ end|> an'
    """
    text = text[: 4 * longest].encode("utf-8", "replace").decode()  # half of a surrogate pair is no text
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    while True:
        text = " ".join(text.split())
        found = next((mark for mark in marks if mark in text), None)
        if found is None:
            return text[:longest].rstrip()
        text = text.replace(found, " ")


@dataclass(frozen=True)
class Family:
    """A kind of video language model; one module beside this one each.

    Attributes
    ----------
    name
        As in the papers.
    version
        Of everything its module decides; part of the key of features made with it.
    model_types
        Values of `model_type` in a checkpoint's config.json.
    stacks
        True where the clips of one model call must have the same number of frames.
    counts_positions
        True where tokens stand at 0, 1, 2, ...; False where the model places them in time, height and width itself.
    turn
        Makes the text of the prompt: (processor, prompt) -> str, with one placeholder for the video.
    """

    name: str
    version: int
    model_types: tuple[str, ...]
    stacks: bool
    counts_positions: bool
    turn: Callable[[Any, str], str] = chat_turn


def load_model(
    checkpoint: Checkpoint,
    dtype: str,
    device: str,
    auto: str = "AutoModelForImageTextToText",
    quantize: Quantize = "none",
) -> tuple[Any, Any]:
    """Load processor and model with classes of transformers.

    Parameters
    ----------
    checkpoint
        Any checkpoint that the class `auto` knows; keys of parts that the class leaves out on purpose may be in it.
    dtype
        `float32`, `bfloat16` or `float16`; given always, or a half-precision file would run in half precision.
    device
        Torch device.
    auto
        Name of the class of the model: an Auto class, or the very class where it is one part of what the folder holds.
    quantize
        `4bit`: weights of linear layers in 4 bits.

    Returns
    -------
    tuple
        (processor, model), the model in evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    UserError
        If it cannot be quantized.
    """
    import torch
    import transformers
    from transformers import AutoConfig, AutoProcessor

    auto_model: Any = getattr(transformers, auto)
    folder = str(checkpoint.folder)
    hide_loading_bars()
    check_files(checkpoint.folder, NEEDED)
    check(quantize, checkpoint.twin)
    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        if checkpoint.twin:
            config_class = getattr(auto_model, "config_class", AutoConfig)
            config = config_class.from_pretrained(folder, trust_remote_code=False)
            draw = getattr(auto_model, "from_config", None) or auto_model._from_config
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(TWIN_SEED)
                model = draw(config, dtype=getattr(torch, dtype))
            _adopt_generation_config(model, folder)
        else:
            loaded: Any = auto_model.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
                **loading(quantize, dtype, device),
            )
            model, info = loaded
            check_keys(checkpoint, info)
    except BenchError:
        raise
    except Exception as error:
        raise unreadable(checkpoint, error) from error
    # Answers are read from the end of the sequence: shorter prompts are filled up on the left.
    processor.tokenizer.padding_side = "left"
    return processor, model.eval() if quantize == "4bit" else model.eval().to(device)


def _adopt_generation_config(model: Any, folder: str) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig.from_pretrained(folder)


def for_preparing(processor: Any) -> Any:
    """Copy a processor for another thread: a tokenizer cannot encode in one while it decodes in another."""
    return copy.deepcopy(processor)


class Front:
    """What comes before the model: clips and the text of a turn become its inputs, in whatever thread.

    Parameters
    ----------
    processor
        As `load_model` returns it; a copy is used, see `for_preparing`.
    text
        Of the turn, with one placeholder for the video; or what makes it of each clip.
    """

    def __init__(self, processor: Any, text: str | Callable[[Any], str]) -> None:
        self._processor, self._text = for_preparing(processor), text
        self._lock = threading.Lock()

    def __call__(self, clips: Sequence[Clip]) -> Any:
        """Model inputs of a batch, a `BatchFeature` on the host.

        Frames are chosen already, so the processor must not sample; without `video_metadata` it would take every clip
        for 24 frames per second and place the frames wrongly in time.
        """
        texts = [self._text(clip) if callable(self._text) else self._text for clip in clips]
        with self._lock:
            return self._processor(
                text=texts,
                videos=[clip.frames for clip in clips],
                video_metadata=[clip.metadata for clip in clips],
                do_sample_frames=False,
                padding=True,
                return_tensors="pt",
            )
