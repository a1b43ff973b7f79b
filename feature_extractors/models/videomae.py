"""VideoMAE (arXiv 2203.12602) as a feature extractor: the mean over the tokens of the encoder's last hidden state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoints import (
    TWIN_SEED,
    Checkpoint,
    check_files,
    check_keys,
    hide_loading_bars,
    unreadable,
)
from feature_extractors.models.threads import torch_threads
from protocols.errors import BenchError, CheckpointError

Variant = Literal["checkpoint", "microlens"]

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
#: Frames of the variant `microlens`.
MICROLENS_FRAMES = 5
NEEDED = ("config.json", "preprocessor_config.json|video_preprocessor_config.json|processor_config.json")


def frames_wanted(checkpoint: Checkpoint, variant: Variant) -> int:
    """How many frames the model takes of a clip; asked before anything is decoded.

    Raises
    ------
    CheckpointError
        If `config.json` is not that of a VideoMAE.
    """
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    except Exception as error:
        raise unreadable(checkpoint, error) from error
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
    import torch
    from transformers import AutoImageProcessor, VideoMAEConfig, VideoMAEModel

    hide_loading_bars()
    check_files(checkpoint.folder, NEEDED)
    folder = str(checkpoint.folder)
    # given always, or a half-precision file would run in half precision
    precision = getattr(torch, dtype)
    try:
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        config: Any = VideoMAEConfig.from_pretrained(folder)
        config.num_frames = frames_wanted(checkpoint, variant)
        if checkpoint.twin:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(TWIN_SEED)
                model: Any = VideoMAEModel(config).to(precision)
        else:
            with _no_report():
                loaded: Any = VideoMAEModel.from_pretrained(
                    folder,
                    config=config,
                    dtype=precision,
                    output_loading_info=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,  # they are told like the other keys
                )
            model, info = loaded
            heads = _heads(config)
            check_keys(checkpoint, {**info, "unexpected_keys": set(info["unexpected_keys"]) - heads})
    except BenchError:
        raise
    except Exception as error:
        raise unreadable(checkpoint, error) from error
    if variant == "microlens":
        model.layernorm = None
    return processor, model.eval().to(device)


@contextmanager
def _no_report() -> Iterator[None]:
    """Keep transformers from listing keys that are left aside; `check_keys` names those that are wrong."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


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
        # told, not guessed: a frame of one or three pixels would be taken for one with its channels first
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
