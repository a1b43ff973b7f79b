"""CLAP (arXiv 2211.06687): vectors of sounds and of texts in one space.

A sound is resampled to the rate of the checkpoint's feature extractor and cut from its start into windows of the
checkpoint's length, one after the other; what is left at the end is a window of its own, unless it is shorter than
`SHORTEST` and follows others. The feature extractor never sees a sound longer than that, so it never draws a part of
one at random (`rand_trunc`, `fusion`); shorter ones it fills up by its own rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.loading import checkpoint_errors, load_pretrained
from feature_extractors.models.threads import torch_threads

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
NEEDED = ("config.json", "tokenizer.json|tokenizer_config.json", "preprocessor_config.json|processor_config.json")
# Seconds: a shorter rest of a longer sound says nothing.
SHORTEST = 1.0
# Windows a model call.
TOGETHER = 32
# Buffers that the architecture computes itself: files of some versions of transformers hold them, others do not.
COMPUTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


def load_model(checkpoint: Checkpoint, dtype: str, device: str) -> tuple[Any, Any]:
    """Load a `ClapProcessor` and a `ClapModel`, the model in evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    """
    from transformers import ClapModel, ClapProcessor

    with checkpoint_errors(checkpoint, NEEDED):
        processor = ClapProcessor.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
        # sizes that do not match are refused by name
        model = load_pretrained(checkpoint, ClapModel, dtype, expected=_computed, ignore_mismatched_sizes=True)
    return processor, model.eval().to(device)


def _computed(key: str) -> bool:
    return key.rpartition(".")[2] in COMPUTED


@dataclass(frozen=True, eq=False)
class SoundWindows:
    """A sound, window by window.

    Attributes
    ----------
    starts, seconds
        float64 [W]: when each window starts, since the first sound, and how long it is.
    vectors
        float32 [W, D], each of length 1.
    """

    starts: np.ndarray
    seconds: np.ndarray
    vectors: np.ndarray


class Clap:
    """Sounds and texts to vectors whose cosine says how well they fit.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    threads
        Torch threads.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, device: str, threads: int = 1) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device)
        self._threads = threads
        self._feature_extractor: Any = self.processor.feature_extractor

    def windows(self, samples: np.ndarray) -> list[np.ndarray]:
        """Cut a sound, float32 [T] at 16 kHz, into windows at the checkpoint's rate."""
        from scipy.signal import resample_poly

        rate, size = int(self._feature_extractor.sampling_rate), int(self._feature_extractor.nb_max_samples)
        if rate != RATE:
            common = math.gcd(rate, RATE)
            samples = resample_poly(samples, rate // common, RATE // common)
        parts = [samples[at : at + size] for at in range(0, len(samples), size)]
        return parts[:-1] if len(parts) > 1 and len(parts[-1]) < SHORTEST * rate else parts

    def encode_windows(self, sounds: Sequence[Sound]) -> list[SoundWindows]:
        """Encode a batch of sounds."""
        import torch

        cut = [self.windows(sound.samples) for sound in sounds]
        windows = [window for parts in cut for window in parts]
        rate = int(self._feature_extractor.sampling_rate)
        vectors = []
        with torch_threads(self._threads), torch.inference_mode():
            for at in range(0, len(windows), TOGETHER):
                mels = self._feature_extractor(windows[at : at + TOGETHER], sampling_rate=rate, return_tensors="pt")
                features = mels["input_features"].to(self.model.device, self.model.dtype)
                # No window is longer than the model's own, whatever the feature extractor of a fusion model draws.
                longer = torch.zeros(len(features), 1, dtype=torch.bool, device=self.model.device)
                found = self.model.get_audio_features(features, is_longer=longer).pooler_output
                vectors.append(found.float().cpu().numpy())
        bounds = np.cumsum([len(parts) for parts in cut])[:-1]
        return [
            SoundWindows(
                np.arange(len(parts)) * (self._feature_extractor.nb_max_samples / rate), _seconds(parts, rate), found
            )
            for parts, found in zip(cut, np.split(np.concatenate(vectors), bounds), strict=True)
        ]

    def __call__(self, sounds: Sequence[Sound]) -> np.ndarray:
        """Return one vector a sound, float32 [N, D] of length 1: the mean of its windows, weighted by their seconds."""
        return means(self.encode_windows(sounds))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts: float32 [K, D], each of length 1."""
        import torch

        with torch_threads(self._threads), torch.inference_mode():
            tokens = self.processor.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            found = self.model.get_text_features(
                input_ids=tokens["input_ids"].to(self.model.device),
                attention_mask=tokens["attention_mask"].to(self.model.device),
            )
            return found.pooler_output.float().cpu().numpy()


def means(sounds: Sequence[SoundWindows]) -> np.ndarray:
    """Mean of each sound's windows, weighted by their seconds: float32 [N, D] of length 1."""
    found = np.stack([np.average(sound.vectors, axis=0, weights=sound.seconds) for sound in sounds])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _seconds(windows: Sequence[np.ndarray], rate: int) -> np.ndarray:
    return np.array([len(window) / rate for window in windows])
