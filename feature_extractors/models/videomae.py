"""VideoMAE (arXiv 2203.12602): the mean over the tokens of the encoder's last hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.loading import checkpoint_errors, load_pretrained, without_warnings
from feature_extractors.models.threads import torch_threads
from protocols.errors import CheckpointError

Variant = Literal["checkpoint", "microlens"]

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
#: Frames of the variant `microlens`.
MICROLENS_FRAMES = 5
NEEDED = ("config.json", "preprocessor_config.json|video_preprocessor_config.json|processor_config.json")


def frames_wanted(checkpoint: Checkpoint, variant: Variant) -> int:
    """Return the number of frames that the model takes of a clip; asked before anything is decoded.

    Raises
    ------
    CheckpointError
        If `config.json` is not that of a VideoMAE.
    """
    from transformers import AutoConfig

    with checkpoint_errors(checkpoint):
        config: Any = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    if config.model_type != "videomae":
        raise CheckpointError(
            f"checkpoint {checkpoint.folder} is a {config.model_type!r} model, not a VideoMAE",
            remedy="give a VideoMAE checkpoint such as MCG-NJU/videomae-base",
        )
    return MICROLENS_FRAMES if variant == "microlens" else int(config.num_frames)


def load_model(checkpoint: Checkpoint, dtype: str, device: str, variant: Variant = "checkpoint") -> tuple[Any, Any]:
    """Load an image processor and a `VideoMAEModel`, the model in evaluation mode.

    Weights of a whole `VideoMAEForPreTraining` or `VideoMAEForVideoClassification` serve as well as those of the bare
    encoder: what belongs to the decoder or the classifier of that architecture is left aside.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key of the encoder is missing, or any other is unexpected.
    """
    from transformers import AutoImageProcessor, VideoMAEConfig, VideoMAEModel

    folder = str(checkpoint.folder)
    with checkpoint_errors(checkpoint, NEEDED), without_warnings():
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        config: Any = VideoMAEConfig.from_pretrained(folder)
        config.num_frames = frames_wanted(checkpoint, variant)
        heads = _heads(config)
        # sizes that do not match are refused by name
        model = load_pretrained(
            checkpoint, VideoMAEModel, dtype, expected=heads.__contains__, config=config, ignore_mismatched_sizes=True
        )
    if variant == "microlens":
        model.layernorm = None
    return processor, model.eval().to(device)


def _heads(config: Any) -> set[str]:
    """Names of the weights that the architecture has around the encoder."""
    import torch
    from transformers import VideoMAEForPreTraining, VideoMAEForVideoClassification

    with torch.device("meta"):
        wholes = [VideoMAEForPreTraining(config), VideoMAEForVideoClassification(config)]
    return {name for whole in wholes for name in whole.state_dict() if not name.startswith("videomae.")}


class VideoMae:
    """Clips to vectors.

    Parameters
    ----------
    checkpoint, dtype, device, variant
        As in `load_model`.
    threads
        Torch threads.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str, variant: Variant = "checkpoint", threads: int = 1
    ) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, dtype, device, variant)
        self._threads = threads

    def prepare(self, clips: Sequence[Clip]) -> Any:
        """Pixels as the checkpoint's processor makes them, float32 [N, frames, 3, H, W], on the host."""
        frames = [list(clip.frames) for clip in clips]
        # given, not guessed: a frame of one or three pixels would be taken for one with its channels first
        return self.processor(frames, input_data_format="channels_last", return_tensors="pt")["pixel_values"]

    def run(self, pixels: Any) -> np.ndarray:
        """Encode what `prepare` gave: float32 [N, D]."""
        import torch

        with torch_threads(self._threads), torch.inference_mode():
            states = self.model(pixels.to(self.model.device, self.model.dtype)).last_hidden_state
            return states.float().mean(dim=1).cpu().numpy()

    def __call__(self, clips: Sequence[Clip]) -> np.ndarray:
        """Encode a batch of clips, each with as many frames as the model takes: float32 [N, D]."""
        return self.run(self.prepare(clips))
