"""Video language models of all families: loading, the text of a chat turn, the inputs of a batch."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoints import Checkpoint
from feature_extractors.models.loading import checkpoint_errors, load_pretrained
from feature_extractors.models.quantization import Quantize, check, loading
from protocols.errors import CheckpointError

NEEDED = ("config.json", "tokenizer.json|tokenizer_config.json", "preprocessor_config.json|processor_config.json")

#: Settings of greedy decoding. A checkpoint's own sampling settings mean nothing to it and only cause warnings.
GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def chat_turn(processor: Any, prompt: str, kinds: Sequence[str] = ("video",)) -> str:
    """Return one turn of the user, media of these kinds first, as the checkpoint's own chat template writes it.

    Raises
    ------
    CheckpointError
        If it has no template, or one that does not run: transformers runs it in jinja's sandbox.
    """
    content = [*({"type": kind} for kind in kinds), {"type": "text", "text": prompt}]
    try:
        return processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a template is code: it may raise anything
        raise CheckpointError(
            f"checkpoint {processor.tokenizer.name_or_path}: its chat template cannot be loaded: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}",
            remedy="fetch the checkpoint again, or take its chat template from where it was released",
        ) from error


def marks_of(tokenizer: Any) -> list[str]:
    """Return the texts that a tokenizer takes for special tokens, longest first."""
    marks = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    return sorted((mark for mark in marks if mark.strip()), key=lambda mark: (-len(mark), mark))


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
    import transformers
    from transformers import AutoConfig, AutoProcessor

    auto_model: Any = getattr(transformers, auto)
    folder = str(checkpoint.folder)
    check(quantize, checkpoint.random)

    def draw(precision: Any) -> Any:
        config = getattr(auto_model, "config_class", AutoConfig).from_pretrained(folder, trust_remote_code=False)
        model = (getattr(auto_model, "from_config", None) or auto_model._from_config)(config, dtype=precision)
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
        return model

    with checkpoint_errors(checkpoint, NEEDED):
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        model = load_pretrained(checkpoint, auto_model, dtype, draw, **loading(quantize, dtype, device))
    # Answers are read from the end of the sequence: shorter prompts are filled up on the left.
    processor.tokenizer.padding_side = "left"
    return processor, model.eval() if quantize == "4bit" else model.eval().to(device)


def for_preparing(processor: Any) -> Any:
    """Copy a processor for another thread: a tokenizer cannot encode in one while it decodes in another."""
    return copy.deepcopy(processor)


class Front:
    """Preprocessing: clips and the text of a turn become the model's inputs, in whatever thread.

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
