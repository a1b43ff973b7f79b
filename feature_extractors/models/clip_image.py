"""CLIP image embeddings of frames, by the image tower of a checkpoint in the layout of open_clip."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, Layout, check_files, check_keys, unreadable
from feature_extractors.models.checkpoint.loading import random_weights
from feature_extractors.models.threads import torch_threads
from protocols.errors import BenchError

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
#: Files of a directory or a hub repository of open_clip; never a pickle.
LAYOUT = Layout("open_clip_config.json", "open_clip_model.safetensors")
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
# Frames of one model call.
TOGETHER = 128


def load_model(checkpoint: Checkpoint, dtype: str, device: str) -> tuple[Any, Any]:
    """Load a model with open_clip's own factory, in evaluation mode, and what turns an image into its input.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing, unexpected or of another shape.
    """
    import open_clip

    check_files(checkpoint.folder, layout=LAYOUT)
    try:
        with _quietly(), random_weights():
            # A folder's name may hold anything: open_clip is given a path that begins with a slash.
            model, _, transform = open_clip.create_model_and_transforms(
                f"local-dir:{checkpoint.folder.resolve()}",
                load_weights=False,
                precision=PRECISIONS[dtype],
                device=device,
                pretrained_text=False,
            )
        if not checkpoint.random:
            _check_shapes(checkpoint, model)
            open_clip.load_checkpoint(model, str(checkpoint.folder / LAYOUT.weights), strict=True, device="cpu")
    except BenchError:
        raise
    except Exception as error:
        raise unreadable(checkpoint, error) from error
    return model.eval(), transform


def _check_shapes(checkpoint: Checkpoint, model: Any) -> None:
    """Refuse weights that open_clip would quietly resize to the configuration."""
    from safetensors import safe_open

    wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    with safe_open(checkpoint.folder / LAYOUT.weights, "pt") as file:
        held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    # logit_scale is a number or a list of one
    other = [name for name in held if name in wanted and held[name] != wanted[name] and wanted[name] not in ((), (1,))]
    check_keys(checkpoint, {"mismatched_keys": other})


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep open_clip from saying on the root logger that weights were not loaded yet."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class ImageTower:
    """Clips to vectors: the mean over frames of the tower's vectors, each of length 1.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    threads
        Torch threads.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, device: str, threads: int = 1) -> None:
        from open_clip import get_input_dtype

        with torch_threads(threads):
            self.model, self.transform = load_model(checkpoint, dtype, device)
        self._threads, self._device, self._precision = threads, device, get_input_dtype(PRECISIONS[dtype])

    def prepare(self, clips: Sequence[Clip]) -> list[Any]:
        """Pixels of each clip as the checkpoint's configuration says, float32 [frames, 3, H, W], on the host."""
        import torch
        from PIL import Image

        return [torch.stack([self.transform(Image.fromarray(frame)) for frame in clip.frames]) for clip in clips]

    def units(self, pixels: Sequence[Any]) -> list[Any]:
        """Vectors of length 1 of all frames that `prepare` gave: a tensor float32 [frames, D] a clip."""
        import torch

        with torch_threads(self._threads), torch.inference_mode():
            frames = torch.cat(list(pixels)).split(TOGETHER)
            vectors = [self.model.encode_image(part.to(self._device, self._precision)).float() for part in frames]
            units = torch.nn.functional.normalize(torch.cat(vectors), dim=-1)
            return list(units.split([len(clip) for clip in pixels]))

    def run(self, pixels: Sequence[Any]) -> np.ndarray:
        """Encode what `prepare` gave: float32 [N, D]."""
        import torch

        units = self.units(pixels)
        with torch_threads(self._threads), torch.inference_mode():
            return torch.stack([clip.mean(dim=0) for clip in units]).cpu().numpy()

    def __call__(self, clips: Sequence[Clip]) -> np.ndarray:
        """Encode a batch of clips, with as many frames each as there are: float32 [N, D]."""
        return self.run(self.prepare(clips))
