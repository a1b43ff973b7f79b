"""Texts from the thinker of a Qwen2.5-Omni (arXiv 2503.20215), which sees and hears at once, pocket and real alike."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from feature_extractors.backbones.checkpoints import Checkpoint, unreadable
from feature_extractors.backbones.quantized import Quantize
from feature_extractors.backbones.qwen_audio import ears, filled_up
from feature_extractors.backbones.threads import torch_threads
from feature_extractors.backbones.token_calls import TOKENS, Call
from feature_extractors.backbones.video_lm import Answers, chat_turn, load_model
from feature_extractors.batching import by_tokens
from feature_extractors.watching import Watched
from protocols.errors import CheckpointError

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
# The part of the model that writes text; the talker, which speaks it, is never built.
THINKER = "Qwen2_5OmniThinkerForConditionalGeneration"
MODEL_TYPE = "qwen2_5_omni"


class OmniCaptioner:
    """Clips with their sound to text: one chat turn of both and a prompt, greedy decoding.

    Frames and sound are interleaved in time as the checkpoint's processor does it (`load_audio_from_video`), and the
    model places both in seconds (TMRoPE). A clip without sound is a turn of its frames alone. Sound behind the
    checkpoint's own window (300 s of the released ones) is not heard.

    Parameters
    ----------
    checkpoint, dtype, device, quantize
        As in `video_lm.load_model`. A checkpoint of the whole model; of its weights the thinker's are loaded.
    prompt
        Text of the user's turn, after the clip.
    max_new_tokens
        Longest answer.
    threads
        Torch threads.

    Raises
    ------
    CheckpointError
        If it is of another kind, does not load, or does not listen at 16 kHz.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        device: str,
        prompt: str,
        max_new_tokens: int,
        threads: int = 1,
        quantize: Quantize = "none",
    ) -> None:
        _check_kind(checkpoint)
        with torch_threads(threads), _without_warnings():
            self.processor, self.model = load_model(checkpoint, dtype, device, THINKER, quantize)
        ears(self.processor, checkpoint)
        _keep_small_frames(self.processor)
        self._threads = threads
        # not every folder of the whole model says where its thinker's answers end
        settings, tokenizer = self.model.generation_config, self.processor.tokenizer
        if settings.eos_token_id is None:
            settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
        self._answers = Answers(self.processor, self.model, max_new_tokens, checkpoint.twin)
        # a tokenizer cannot encode in one thread while it decodes in another
        self._front, self._lock = copy.deepcopy(self.processor), threading.Lock()
        self._turn = chat_turn(self.processor, prompt)

    def prepare(self, batch: Sequence[Watched]) -> list[Call]:
        """Model inputs of a batch, cut into calls, on the host; safe in another thread than `run`.

        The model takes clips with sound and clips without in different calls.
        """
        with self._lock:
            ready = [self.inputs(one) for one in batch]
            kinds = ([at for at, one in enumerate(batch) if (one.sound is None) == mute] for mute in (False, True))
            return [
                (group, self._together([ready[at] for at in group]))
                for places in kinds
                for group in _groups(places, [one["input_ids"].shape[1] for one in ready])
            ]

    def inputs(self, one: Watched) -> dict[str, Any]:
        """Model inputs of one clip, tensors by name.

        A call of the processor has one rate of frames for all of its clips, so each clip has a call of its own. Frames
        are chosen already: it must not sample, and is told how many of them there are in a second.
        """
        from transformers.video_utils import VideoMetadata

        sound: dict[str, Any] = {}
        if one.sound is not None:
            sound = {
                "audio": [filled_up(one.sound.samples)],
                "audio_from_video_indices": [0],
                "load_audio_from_video": True,
            }
        found = self._front(
            text=[self._turn],
            videos=[one.clip.frames],
            video_metadata=[one.clip.metadata],
            do_sample_frames=False,
            fps=VideoMetadata(**one.clip.metadata).sampled_fps,
            return_tensors="pt",
            **sound,
        )
        return dict(found)

    def _together(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Inputs of several clips as one call's: texts filled up on the left, sounds on the right."""
        import torch

        texts = [{name: part[name][0] for name in ("input_ids", "attention_mask")} for part in parts]
        whole: dict[str, Any] = dict(self._front.tokenizer.pad(texts, padding=True, return_tensors="pt"))
        for name in ("pixel_values_videos", "video_grid_thw", "video_second_per_grid"):
            whole[name] = torch.cat([part[name] for part in parts])
        if "input_features" in parts[0]:
            # the processor fills every sound up to the longest one possible, which the mask takes out again
            longest = int(max(part["feature_attention_mask"].sum() for part in parts))
            for name in ("input_features", "feature_attention_mask"):
                whole[name] = torch.cat([part[name][..., :longest] for part in parts])
            whole["use_audio_in_video"] = True
        return whole

    def run(self, prepared: Sequence[Call]) -> list[str]:
        """Describe what `prepare` gave."""
        # half precision is too coarse for seconds
        return self._answers.in_calls(prepared, self._threads, lambda name: name != "video_second_per_grid")

    def __call__(self, batch: Sequence[Watched]) -> list[str]:
        """Describe a batch."""
        return self.run(self.prepare(batch))


def _groups(places: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Cut some clips of a batch into calls by their tokens."""
    cut = by_tokens([lengths[at] for at in places], TOKENS)
    return [[places[at] for at in group] for group in cut]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep transformers from warning that ids of the talker's tokens lie outside of the talker's vocabulary."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _check_kind(checkpoint: Checkpoint) -> None:
    """Refuse another kind of model before its weights are taken for a thinker's."""
    try:
        config = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise unreadable(checkpoint, error) from error
    if kind != MODEL_TYPE:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}: model_type {kind!r} is no {MODEL_TYPE}",
            remedy="give a checkpoint of the Qwen2.5-Omni kind, such as Qwen/Qwen2.5-Omni-3B",
        )


def _keep_small_frames(processor: Any) -> None:
    """Let a checkpoint have frames smaller than the least that the processor's class makes of any video.

    The class sets bounds of its own for the pixels of a frame, over what the checkpoint says, as suits the released
    ones. Where the checkpoint's largest frame is smaller than the class's smallest, the checkpoint is believed.
    """
    own, bounds = processor.video_processor.size, dict(processor.videos_kwargs)
    if own["longest_edge"] < bounds["size"]["shortest_edge"]:
        size = {name: own[name] for name in ("shortest_edge", "longest_edge")}
        processor.videos_kwargs = {**bounds, "size": size}
