"""Video language models of all families: loading, the text of a chat turn, the inputs of a batch.

A clip is a video to a processor that takes videos, with the time of its frames. A processor that takes images alone is
given the frames as images, in their order.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, check_files
from feature_extractors.models.checkpoint.loading import checkpoint_errors, load_pretrained
from feature_extractors.models.checkpoint.model_classes import class_name
from feature_extractors.models.checkpoint.quantization import Quantize, check, loading
from feature_extractors.models.token_batching import Call, calls
from protocols.errors import CheckpointError, UserError

NEEDED = ("config.json", "tokenizer.json|tokenizer_config.json", "preprocessor_config.json|processor_config.json")

#: Least and most pixels of a frame; None: those of the processor.
Pixels = tuple[int | None, int | None]
# Names of these bounds in processors of areas.
EDGES = ("shortest_edge", "longest_edge")

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
    """A kind of video language model.

    Attributes
    ----------
    name
        As in the papers.
    version
        Of everything that is special to it; part of the key of features made with it.
    model_types
        Values of `model_type` in a checkpoint's config.json.
    stacks
        True where the clips of one model call must have the same number of frames.
    turn
        Makes the text of the prompt: (processor, prompt, kinds) -> str, with one placeholder for each of the media.
    """

    name: str
    version: int
    model_types: tuple[str, ...]
    stacks: bool = True
    turn: Callable[[Any, str, Sequence[str]], str] = chat_turn


def takes_videos(processor: Any) -> bool:
    """Return True for a processor that takes videos, not images alone."""
    return getattr(processor, "video_processor", None) is not None


def kinds_of(processor: Any, frames: int) -> tuple[str, ...]:
    """Return the media that a clip of some frames is to a processor: one video, or as many images."""
    return ("video",) if takes_videos(processor) else ("image",) * frames


def turn_of(
    checkpoint: Checkpoint, processor: Any, family: Family, prompt: str, begin: str = ""
) -> Callable[[Clip], str]:
    """Return the function that writes the turn of a clip.

    Raises
    ------
    CheckpointError
        If the chat template and the prompt do not have one place for each of the media.
    """

    @cache
    def text(frames: int) -> str:
        return family.turn(processor, prompt, kinds_of(processor, frames)) + begin

    check_places(checkpoint, processor, text(1))
    return lambda clip: text(len(clip.frames))


def check_places(checkpoint: Checkpoint, processor: Any, text: str) -> None:
    """Refuse a turn of one medium that does not have one place for it.

    Raises
    ------
    CheckpointError
        Saying how many there are.
    """
    kind = kinds_of(processor, 1)[0]
    mark = str(getattr(processor, f"{kind}_token", "") or "")
    places = text.count(mark) if mark else 0
    if places != 1:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}: chat template and prompt have {places} places for a video, not 1"
            if kind == "video"
            else f"checkpoint {checkpoint.folder}: chat template and prompt have {places} places for an image, not 1",
            remedy=f"leave {mark!r} out of the prompt, or fetch the checkpoint again",
        )


def load_model(
    checkpoint: Checkpoint,
    dtype: str,
    device: str,
    auto: str = "",
    quantize: Quantize = "none",
    pixels: Pixels = (None, None),
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
        Name of the class of the model; "": as `model_classes.class_name` tells.
    quantize
        `4bit`: weights of linear layers in 4 bits.
    pixels
        Least and most pixels of a frame, see `limit_pixels`.

    Returns
    -------
    tuple
        (processor, model), the model in evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    UserError
        If it cannot be quantized, or its processor knows no bounds of pixels.
    """
    import transformers
    from transformers import AutoConfig, AutoProcessor

    check_files(checkpoint.folder)
    auto_model: Any = getattr(transformers, auto or class_name(checkpoint))
    folder = str(checkpoint.folder)
    check(quantize, checkpoint.random)

    def draw(precision: Any) -> Any:
        config = getattr(auto_model, "config_class", AutoConfig).from_pretrained(folder, trust_remote_code=False)
        model = (getattr(auto_model, "from_config", None) or auto_model._from_config)(config, dtype=precision)
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
        return model

    with checkpoint_errors(checkpoint, NEEDED):
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        limit_pixels(checkpoint, processor, pixels)
        model = load_pretrained(checkpoint, auto_model, dtype, draw, **loading(quantize, dtype, device))
    # not every folder says where answers end
    settings, tokenizer = model.generation_config, processor.tokenizer
    if settings.eos_token_id is None:
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    # Answers are read from the end of the sequence: shorter prompts are filled up on the left.
    processor.tokenizer.padding_side = "left"
    return processor, model.eval() if quantize == "4bit" else model.eval().to(device)


def limit_pixels(checkpoint: Checkpoint, processor: Any, pixels: Pixels) -> None:
    """Set the least and the most pixels that a processor makes of a frame, as it counts them; None: as it has them.

    Raises
    ------
    UserError
        If it brings all frames to one size.
    """
    if pixels == (None, None):
        return
    for part in ("video_processor", "image_processor"):
        own = getattr(getattr(processor, part, None), "size", None)
        if own is None:
            continue
        if not all(own.get(edge) for edge in EDGES):
            raise UserError(
                f"checkpoint {checkpoint.folder}: its {part.replace('_', ' ')} brings frames to a size of its own",
                remedy="leave min_pixels and max_pixels out",
            )
        size = bounded(own, pixels)
        getattr(processor, part).size = type(own)(**size) if not isinstance(own, dict) else size


def bounded(own: Any, pixels: Pixels) -> dict[str, int]:
    """Return the bounds of a processor, by `EDGES`, with those that are asked for in their place.

    Raises
    ------
    UserError
        If the least is above the most.
    """
    size = {edge: own[edge] if asked is None else asked for edge, asked in zip(EDGES, pixels, strict=True)}
    least, most = size.values()
    if least > most:
        raise UserError(f"min_pixels={least} is above max_pixels={most}", remedy="give both")
    return size


def for_preparing(processor: Any) -> Any:
    """Copy a processor for another thread: a tokenizer cannot encode in one while it decodes in another."""
    return copy.deepcopy(processor)


class Front:
    """Preprocessing: clips and the text of a turn become the model's inputs, in whatever thread.

    Parameters
    ----------
    processor
        As `load_model` returns it; a copy is used, see `for_preparing`.
    turn
        Writes the turn of a clip, with one placeholder for each of its media.
    stacks
        As of `Family`.
    """

    def __init__(self, processor: Any, turn: Callable[[Any], str], stacks: bool = False) -> None:
        self._processor, self._turn, self._stacks = for_preparing(processor), turn, stacks
        self._lock = threading.Lock()

    def calls(self, clips: Sequence[Clip]) -> list[Call]:
        """Model inputs of a batch, cut into calls by their tokens, and where the family asks for it by their frames."""
        found: list[Call] = []
        for group in self._groups(clips):
            own = [clips[at] for at in group]
            prepared = calls(self(own), partial(self._some, own))
            found += [([group[at] for at in places], inputs) for places, inputs in prepared]
        return found

    def _some(self, clips: Sequence[Clip], places: Sequence[int]) -> Any:
        return self([clips[at] for at in places])

    def _groups(self, clips: Sequence[Clip]) -> list[list[int]]:
        """Positions of clips that can share a model call."""
        if not self._stacks:
            return [list(range(len(clips)))]
        groups: dict[int, list[int]] = {}
        for at, clip in enumerate(clips):
            groups.setdefault(len(clip.frames), []).append(at)
        return list(groups.values())

    def __call__(self, clips: Sequence[Clip]) -> Any:
        """Model inputs of clips that can share a call, a `BatchFeature` on the host.

        Frames are chosen already, so the processor must not sample; without `video_metadata` it would take every clip
        for 24 frames per second and place the frames wrongly in time.
        """
        from PIL import Image

        texts = [self._turn(clip) for clip in clips]
        if takes_videos(self._processor):
            metadata = [clip.metadata for clip in clips]
            media = {"videos": [clip.frames for clip in clips], "video_metadata": metadata, "do_sample_frames": False}
        else:
            media = {"images": [[Image.fromarray(frame) for frame in clip.frames] for clip in clips]}
        with self._lock:
            found = self._processor(text=texts, **media, padding=True, return_tensors="pt")
        found.pop("video_metadata", None)  # some processors return it, and no model takes it
        return found
