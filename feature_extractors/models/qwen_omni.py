"""Qwen2.5-Omni (arXiv 2503.20215): texts from its thinker, which takes frames and sound at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from feature_extractors.media.av_clip import AvClip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.loading import without_warnings
from feature_extractors.models.checkpoint.model_classes import read_config
from feature_extractors.models.checkpoint.quantization import Quantize
from feature_extractors.models.generation import Answering
from feature_extractors.models.qwen_audio import audio_feature_extractor, filled_up
from feature_extractors.models.token_batching import TOKENS, Call, by_tokens
from feature_extractors.models.video_lm import Pixels, bounded, chat_turn, for_preparing, load_model
from protocols.errors import CheckpointError

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
# The part of the model that writes text; the talker, which speaks it, is never built.
THINKER = "Qwen2_5OmniThinkerForConditionalGeneration"
MODEL_TYPE = "qwen2_5_omni"


class OmniCaptioner(Answering):
    """Clips with their sound to text: one chat turn of both and a prompt each.

    Frames and sound are interleaved in time as the checkpoint's processor does it (`load_audio_from_video`), and the
    model places both in seconds (TMRoPE). A clip without sound is a turn of its frames alone. Sound behind the
    checkpoint's own window (300 s of the released ones) is left out. The processor must take sound of 16 kHz.

    The checkpoint is one of the whole model; of its weights the thinker's are loaded.
    """

    auto: ClassVar[str] = THINKER

    def _load(self, checkpoint: Checkpoint, dtype: str, device: str, quantize: Quantize) -> tuple[Any, Any]:
        _check_kind(checkpoint)
        with without_warnings():  # that ids of the talker's tokens lie outside of the talker's vocabulary
            return load_model(checkpoint, dtype, device, self.auto, quantize)

    def _set_up(self, checkpoint: Checkpoint) -> None:
        audio_feature_extractor(self.processor, checkpoint)
        _bound_frames(self.processor, self._pixels)
        self._front, self._lock = for_preparing(self.processor), threading.Lock()
        self._turn = chat_turn(self.processor, self._prompt)

    def prepare(self, batch: Sequence[AvClip]) -> list[Call]:
        """Model inputs of a batch, cut into calls; clips with sound and clips without are never in the same one."""
        with self._lock:
            ready = [self.inputs(one) for one in batch]
            kinds = ([at for at, one in enumerate(batch) if (one.sound is None) == mute] for mute in (False, True))
            return [
                (group, self._together([ready[at] for at in group]))
                for places in kinds
                for group in _groups(places, [one["input_ids"].shape[1] for one in ready])
            ]

    def inputs(self, one: AvClip) -> dict[str, Any]:
        """Model inputs of one clip, tensors by name.

        A call of the processor has one rate of frames for all of its clips, so each clip has a call of its own. Frames
        are chosen already: it must not sample, and is given their number per second.
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


def _groups(places: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Cut some clips of a batch into calls by their tokens."""
    cut = by_tokens([lengths[at] for at in places], TOKENS)
    return [[places[at] for at in group] for group in cut]


def _check_kind(checkpoint: Checkpoint) -> None:
    """Refuse another kind of model before its weights are taken for a thinker's."""
    kind = read_config(checkpoint).get("model_type")
    if kind != MODEL_TYPE:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}: model_type {kind!r} is no {MODEL_TYPE}",
            remedy="give a checkpoint of the Qwen2.5-Omni kind, such as Qwen/Qwen2.5-Omni-3B",
        )


def _bound_frames(processor: Any, pixels: Pixels) -> None:
    """Set the least and the most pixels of a frame: those asked for, else the class's, or the checkpoint's if smaller.

    The class of the processor has bounds of its own, over what the checkpoint says, as suits the released ones. Where
    the checkpoint's largest frame is smaller than the class's smallest, the checkpoint is believed.
    """
    own, released = processor.video_processor.size, processor.videos_kwargs["size"]
    size = own if own["longest_edge"] < released["shortest_edge"] else released
    processor.videos_kwargs = {**processor.videos_kwargs, "size": bounded(size, pixels)}
