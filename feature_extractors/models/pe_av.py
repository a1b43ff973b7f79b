"""PE-AV (Perception Encoder, audio-visual): frames and sound of a clip to one vector, by `PeAudioVideoModel`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.loading import checkpoint_errors, load_pretrained, without_warnings
from feature_extractors.models.joint_embedding import TitledClip, finite, resampled
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import on_device

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
MODEL_TYPE = "pe_audio_video"
NEEDED = ("config.json", "preprocessor_config.json|processor_config.json")


def model_class() -> Any:
    """Return `PeAudioVideoModel`, which with timm 1.0.31 cannot be loaded as transformers 5.23 has it.

    Its list of tied weights leaves out one of the buffers that timm's rotary embedding computes itself, not all.
    """
    from transformers import PeAudioVideoModel

    class Loadable(PeAudioVideoModel):
        _tied_weights_keys = {  # noqa: RUF012
            _all_of_rope(one): _all_of_rope(other) for one, other in PeAudioVideoModel._tied_weights_keys.items()
        }

    return Loadable


def _all_of_rope(pattern: str) -> str:
    return pattern.replace(r"rope\.pos_embed", r"rope\.")


class PeEmbedder:
    """Clips with their sound to one vector each, of length 1.

    A clip with sound is read by the head of frames and sound together, one without by the head of frames: both were
    trained against the same space of texts.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `loading.load_pretrained`.
    threads
        Torch threads.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, device: str, threads: int = 1) -> None:
        from transformers import PeAudioVideoProcessor

        with torch_threads(threads), checkpoint_errors(checkpoint, NEEDED), without_warnings():
            self.processor: Any = PeAudioVideoProcessor.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
            # transformers 5.23 prints that it lacks the documentation of some of the model's methods
            with redirect_stdout(None):
                self.model = load_pretrained(checkpoint, model_class(), dtype).eval().to(device)
        self._checkpoint, self._dtype, self._threads = checkpoint, dtype, threads
        self._lock = threading.Lock()

    def prepare(self, batch: Sequence[TitledClip]) -> list[dict[str, Any]]:
        """Model inputs of each clip, on the host."""
        with self._lock:
            return [self.inputs(one) for one in batch]

    def inputs(self, one: TitledClip) -> dict[str, Any]:
        """Model inputs of one clip, tensors by name."""
        found = self.processor.video_processor(
            [one.clip.frames], do_sample_frames=False, input_data_format="channels_last", return_tensors="pt"
        )
        if one.sound is None:
            return dict(found)
        listen = self.processor.feature_extractor
        sound = listen(
            resampled(one.sound, listen.sampling_rate), sampling_rate=listen.sampling_rate, return_tensors="pt"
        )
        return {**found, "input_values": sound["input_values"]}

    def run(self, prepared: Sequence[dict[str, Any]]) -> np.ndarray:
        """Encode what `prepare` gave: float32 [N, D]."""
        import torch

        with torch_threads(self._threads), torch.inference_mode():
            found = torch.cat([self._embed(on_device(inputs, self.model)) for inputs in prepared]).float()
            units = torch.nn.functional.normalize(found, dim=-1).cpu().numpy()
        return finite(units, self._checkpoint, self._dtype)

    def _embed(self, inputs: dict[str, Any]) -> Any:
        if "input_values" in inputs:
            return self.model.get_audio_video_embeds(**inputs).audio_video_embeds
        # `get_video_embeds` of transformers 5.23 calls a method that does not exist
        video = self.model.video_model
        return video.video_head(video.video_encoder(**inputs).pooler_output)

    def __call__(self, batch: Sequence[TitledClip]) -> np.ndarray:
        """Encode a batch of clips: float32 [N, D]."""
        return self.run(self.prepare(batch))
