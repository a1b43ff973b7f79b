"""Multimodal embedding models: one vector of frames, sound and title together.

A folder in the layout of sentence-transformers (EmbeddingGemma 2, Qwen3-VL-Embedding) is read as its own modules and
prompts say. Of a bare decoder (VLM2Vec-V2, a captioner) the vector is the last token of one turn of the user behind
the instruction as the system's, at length 1, as Qwen3-VL-Embedding is read. PE-AV has a module of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.media.av_clip import AvClip
from feature_extractors.media.result import Clip
from feature_extractors.models import model_types
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, check_keys
from feature_extractors.models.checkpoint.loading import checkpoint_errors, random_weights, without_warnings
from feature_extractors.models.checkpoint.model_classes import read_config
from feature_extractors.models.text_encoder import check_modules, document_prompt
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import on_device
from feature_extractors.models.video_lm import marks_of
from feature_extractors.text.plain import cut_note, plain
from protocols.errors import CheckpointError

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
NEEDED = ("config.json", "tokenizer.json|tokenizer_config.json", "preprocessor_config.json|processor_config.json")
OTHER = "give a multimodal embedding model such as Qwen/Qwen3-VL-Embedding-2B"
# Of Qwen3-VL-Embedding (github.com/QwenLM/Qwen3-VL-Embedding), for folders that hold no prompts.
INSTRUCTION = "Represent the user's input."
# Characters of a title.
LONGEST = 500
# Weights of whole models that the body of an embedding model does without.
HEADS = frozenset({"lm_head", "score"})
# The processor must neither sample frames nor cut what stands for them.
AS_GIVEN = {"video": {"do_sample_frames": False}, "text": {"truncation": False}}


@dataclass(frozen=True, eq=False)
class TitledClip:
    """Frames of a clip with its sound and its title, None where there is none."""

    clip: Clip
    sound: Sound | None = None
    title: str | None = None
    note: str = ""

    @classmethod
    def join(cls, media: Clip | AvClip, title: str | None = None) -> TitledClip:
        """Join what was decoded of a file and its item's title."""
        if isinstance(media, AvClip):
            return cls(media.clip, media.sound, title, media.note)
        return cls(media, None, title, media.note)


def takes_sound(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint takes sound, by the audio part of its configuration."""
    config = read_config(checkpoint)
    return any(config.get(name) for name in ("audio_config", "audio_video_config"))


def load_model(checkpoint: Checkpoint, dtype: str, device: str) -> Any:
    """Load a `SentenceTransformer` that takes videos, in evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, a weight key is missing or unexpected, or the model takes no videos.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import AutoModel, AutoProcessor

    loading = {"dtype": getattr(torch, dtype), "use_safetensors": True, "trust_remote_code": False}
    folder = str(checkpoint.folder)
    if "thinker_config" in read_config(checkpoint):
        raise CheckpointError(f"checkpoint {folder} {model_types.THINKER}, which is no embedding model", OTHER)
    with checkpoint_errors(checkpoint, NEEDED), without_warnings():
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        if getattr(processor, "video_processor", None) is None:
            raise CheckpointError(f"checkpoint {folder}: its {type(processor).__name__} {model_types.NO_VIDEOS}", OTHER)
        bare = not (checkpoint.folder / "modules.json").is_file()
        if bare and not processor.chat_template:
            raise CheckpointError(
                f"checkpoint {folder} {model_types.NO_TEMPLATE}, in which frames and a title would be one turn", OTHER
            )
        if not checkpoint.random:
            # sentence-transformers says nothing about keys that do not fit: look at them first
            _, info = AutoModel.from_pretrained(folder, output_loading_info=True, **loading)
            unexpected = [key for key in info["unexpected_keys"] if HEADS.isdisjoint(key.split("."))]
            check_keys(checkpoint, {**info, "unexpected_keys": unexpected})
        if not bare:
            check_modules(checkpoint.folder)
            whole = SentenceTransformer(folder, device=device, local_files_only=True, model_kwargs=loading)
        else:
            body = Transformer(
                folder, model_kwargs=loading, processing_kwargs={"chat_template": {"add_generation_prompt": True}}
            )
            pooling = Pooling(body.get_embedding_dimension(), pooling_mode="lasttoken")
            whole = SentenceTransformer(modules=[body, pooling, Normalize()], device=device)
            whole.prompts, whole.default_prompt_name = {"document": INSTRUCTION}, "document"
        first: Any = whole[0]
        if checkpoint.random:
            with random_weights():
                first.model.load_state_dict(type(first.model)(first.model.config).state_dict())
    return whole.eval()


class JointEmbedder:
    """Clips with sound and title to one vector each.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    instruction
        Text, or the name of one of the checkpoint's prompts; "": its prompt of documents, or its default one; `none`.
    threads
        Torch threads.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str, instruction: str = "", threads: int = 1
    ) -> None:
        with torch_threads(threads):
            self.model = load_model(checkpoint, dtype, device)
        self._checkpoint, self._dtype, self._threads = checkpoint, dtype, threads
        self._prompt = document_prompt(self.model.prompts, self.model.default_prompt_name, instruction)
        self._marks = marks_of(self.model[0].tokenizer)
        self._lock = threading.Lock()

    def note(self, one: TitledClip) -> str:
        """Remark for the reader of a row: a title that is not read to its end."""
        return cut_note("title", one.title, LONGEST)

    def message(self, one: TitledClip) -> dict[str, Any]:
        """Input of sentence-transformers for one clip; the title is plain words, no path and no placeholder."""
        found: dict[str, Any] = {"video": {"array": one.clip.frames, "video_metadata": one.clip.metadata}}
        if one.sound is not None:
            found["audio"] = {"array": resampled(one.sound, self._rate), "sampling_rate": self._rate}
        title = plain(one.title or "", self._marks, LONGEST)
        return {**found, "text": title} if title else found

    @property
    def _rate(self) -> int:
        return int(self.model[0].processor.feature_extractor.sampling_rate)

    def prepare(self, batch: Sequence[TitledClip]) -> list[tuple[list[int], dict[str, Any]]]:
        """Model inputs of a batch, a call for clips with sound and one for those without; on the host."""
        kinds = ([at for at, one in enumerate(batch) if (one.sound is None) == mute] for mute in (False, True))
        with self._lock, without_warnings():
            return [
                (places, self.model.preprocess([self.message(batch[at]) for at in places], prompt=self._prompt,
                                               processing_kwargs=AS_GIVEN))
                for places in kinds if places
            ]  # fmt: skip

    def run(self, prepared: Sequence[tuple[list[int], dict[str, Any]]]) -> np.ndarray:
        """Encode what `prepare` gave: float32 [N, D], as pooled and normalised by the checkpoint's modules.

        Raises
        ------
        CheckpointError
            If the model gives no numbers in the precision asked for.
        """
        import torch

        found: dict[int, np.ndarray] = {}
        with torch_threads(self._threads), torch.inference_mode():
            for places, inputs in prepared:
                # seconds of frames stay exact
                moved = on_device(inputs, self.model[0].model, lambda name: name.startswith(("pixel_", "input_")))
                vectors = self.model(moved)["sentence_embedding"].float().cpu().numpy()
                found.update(zip(places, vectors, strict=True))
        return finite(np.stack([found[at] for at in range(len(found))]), self._checkpoint, self._dtype)

    def __call__(self, batch: Sequence[TitledClip]) -> np.ndarray:
        """Encode a batch: float32 [N, D]."""
        return self.run(self.prepare(batch))


def finite(vectors: np.ndarray, checkpoint: Checkpoint, dtype: str) -> np.ndarray:
    """Return vectors that are numbers.

    Raises
    ------
    CheckpointError
        If one is not: some models overflow in half precision.
    """
    if not np.isfinite(vectors).all():
        raise CheckpointError(
            f"checkpoint {checkpoint.folder} gives vectors that are no numbers in {dtype}",
            remedy="take bfloat16 or float32 (--set video-embedding.dtype=float32)",
        )
    return vectors


def resampled(sound: Sound, rate: int) -> np.ndarray:
    """Samples float32 [T] at another rate."""
    from math import gcd

    from scipy.signal import resample_poly

    common = gcd(rate, RATE)
    return sound.samples if rate == RATE else resample_poly(sound.samples, rate // common, RATE // common)
