"""Encoders of frames and of videos, of whatever architecture: frames to vector by the Auto classes of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from feature_extractors.media.result import Clip
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.checkpoint.loading import checkpoint_errors, load_pretrained, without_warnings
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import on_device
from protocols.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["pooled", "mean", "head"]

# Behaviour of this module, part of the key of every feature made with it.
VERSION = 1
NEEDED = ("config.json", "preprocessor_config.json|video_preprocessor_config.json|processor_config.json")
# Frames of one call of an image encoder.
TOGETHER = 64
# Parts of whole models around the encoder: no state of the encoder depends on them.
HEADS = frozenset({"classifier", "decoder", "encoder_to_decoder", "fc_norm", "mask_token", "pooler"})
# Buffers that architectures compute themselves: files of some versions of transformers hold them.
COMPUTED = ("position_ids",)
# Number of frames of a video, by the names that configurations have for it.
FRAMES = ("num_frames", "frames_per_clip")


def frames_wanted(checkpoint: Checkpoint) -> tuple[int, int]:
    """Return the frames that a video encoder was made for; asked before anything is decoded.

    Returns
    -------
    tuple
        Their number, and the number of frames of which it takes any multiple; 0: it takes that number alone.

    Raises
    ------
    CheckpointError
        If `config.json` is not that of a video encoder: it names no number of frames.
    """
    from transformers import AutoConfig

    with checkpoint_errors(checkpoint):
        config: Any = AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    config = getattr(config, "vision_config", config)
    found = next((getattr(config, name) for name in FRAMES if getattr(config, name, None)), None)
    if found is None:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}: a {config.model_type!r} model takes images, or no frames at all",
            remedy="give a video encoder such as facebook/vjepa2-vitl-fpc64-256; image-encoder takes image encoders",
        )
    # V-JEPA 2 rotates its queries by the places of tubelets; the others learned a table of places.
    return int(found), int(config.tubelet_size) if config.model_type == "vjepa2" else 0


def load_model(checkpoint: Checkpoint, processor: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Load a processor and an encoder, the encoder in evaluation mode.

    Parameters
    ----------
    checkpoint
        Any that `AutoModel` knows without code of its own. Heads around the encoder are left aside.
    processor
        Auto class of the processor, `AutoImageProcessor` or `AutoVideoProcessor`.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    """
    import torch
    import transformers

    folder = str(checkpoint.folder)

    def draw(precision: Any) -> Any:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return transformers.AutoModel.from_config(config, dtype=precision)

    with checkpoint_errors(checkpoint, NEEDED), without_warnings():
        front = getattr(transformers, processor).from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            own = draw(torch.float32).state_dict().keys()

        def beside(key: str) -> bool:
            return key not in own and (key.partition(".")[0] in HEADS or key.rpartition(".")[2] in COMPUTED)

        # sizes that do not match are refused by name
        model = load_pretrained(checkpoint, transformers.AutoModel, dtype, draw, beside, ignore_mismatched_sizes=True)
    return front, model.eval().to(device)


class ImageEncoder:
    """Clips to vectors: the mean over frames of the frames' vectors, each of length 1, or attention over all frames.

    The vector of a frame is, with pooling `pooled`, that of a two-tower model's image side behind its projection, else
    the `pooler_output` of the vision tower; with `mean` the mean over the tokens of the last hidden state. With `head`
    the attention pooling head of the tower, which was trained on the tokens of one image, reads those of all frames of
    a clip at once: for a clip of one frame that is `pooled`, brought to length 1.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    pooling
        `pooled`, `mean` or `head`.
    threads
        Torch threads.

    Raises
    ------
    CheckpointError
        If the model gives no such pooling.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str, pooling: Pooling = "pooled", threads: int = 1
    ) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, "AutoImageProcessor", dtype, device)
        self._pooling, self._threads, self._folder = pooling, threads, checkpoint.folder
        two_towers = hasattr(self.model, "get_image_features")
        if two_towers and pooling != "pooled":
            self.model = self.model.vision_model
        self._head = getattr(self.model, "head", None)
        if pooling == "head" and self._head is None:
            raise self._lacks("attention pooling head")
        self._encode = self.model.get_image_features if two_towers and pooling == "pooled" else self.model

    def prepare(self, clips: Sequence[Clip]) -> tuple[list[int], dict[str, Any]]:
        """Return the number of frames of each clip, and inputs with a row a frame, on the host."""
        frames = [frame for clip in clips for frame in clip.frames]
        # given, not guessed: a frame of one or three pixels would be taken for one with its channels first
        inputs = self.processor(frames, input_data_format="channels_last", return_tensors="pt")
        return [len(clip.frames) for clip in clips], dict(inputs)

    def run(self, prepared: tuple[list[int], dict[str, Any]]) -> np.ndarray:
        """Encode what `prepare` gave: float32 [N, D]."""
        import torch

        counts, inputs = prepared
        with torch_threads(self._threads), torch.inference_mode():
            frames: list[Tensor] = []
            for at in range(0, sum(counts), TOGETHER):
                part = on_device({name: value[at : at + TOGETHER] for name, value in inputs.items()}, self.model)
                output, mask = self._encode(**part), part.get("pixel_attention_mask")
                frames += self._tokens(output, mask) if self._pooling == "head" else self._vectors(output, mask)
            ends = np.cumsum(counts)
            clips = [frames[end - count : end] for count, end in zip(counts, ends, strict=True)]
            return torch.stack([self._pool(clip) for clip in clips]).cpu().numpy()

    def _pool(self, frames: list[Tensor]) -> Tensor:
        """Vector of a clip, float32 [D], of the vectors [D] of its frames, or with `head` of their tokens [T, D]."""
        import torch
        from torch.nn.functional import normalize

        if self._pooling == "head" and self._head is not None:
            return normalize(self._head(torch.cat(frames)[None]).float().flatten(), dim=-1)
        return normalize(torch.stack(frames), dim=-1).mean(dim=0)

    def _tokens(self, output: Any, mask: Tensor | None) -> list[Tensor]:
        states = output.last_hidden_state
        return list(states) if mask is None else [own[kept.bool()] for own, kept in zip(states, mask, strict=True)]

    def _lacks(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"checkpoint {self._folder}: a {self.model.config.model_type!r} model gives no {what}",
            remedy=f"--set image-encoder.pooling={'mean' if self._pooling == 'pooled' else 'pooled'}",
        )

    def _vectors(self, output: Any, mask: Tensor | None) -> Tensor:
        name = "pooler_output" if self._pooling == "pooled" else "last_hidden_state"
        found = getattr(output, name, None)
        if found is None:
            raise self._lacks(name)
        found = found.float()
        if self._pooling == "pooled":
            return found.flatten(1)
        if found.ndim == 4:  # convolutional encoders have a grid [B, D, H, W]
            return found.mean(dim=(2, 3))
        if mask is None:
            return found.mean(dim=1)
        return (found * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)  # NaFlex fills frames up

    def __call__(self, clips: Sequence[Clip]) -> np.ndarray:
        """Encode a batch of clips, with as many frames each as there are: float32 [N, D]."""
        return self.run(self.prepare(clips))


class VideoEncoder:
    """Clips to vectors: the mean over the tokens of the encoder's last hidden state.

    Of a V-JEPA 2 the encoder alone is run, without its predictor; of a video-text model the video side, whose pooled
    vector is taken.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    threads
        Torch threads.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, device: str, threads: int = 1) -> None:
        with torch_threads(threads):
            self.processor, self.model = load_model(checkpoint, "AutoVideoProcessor", dtype, device)
        self._threads = threads
        self._two_towers = hasattr(self.model, "get_video_features")
        self._more = {"skip_predictor": True} if hasattr(self.model, "predictor") else {}

    def prepare(self, clips: Sequence[Clip]) -> Any:
        """Pixels as the checkpoint's processor makes them, float32 [N, frames, 3, H, W], on the host."""
        videos = [clip.frames for clip in clips]
        inputs = self.processor(videos, do_sample_frames=False, input_data_format="channels_last", return_tensors="pt")
        return inputs["pixel_values_videos" if "pixel_values_videos" in inputs else "pixel_values"]

    def run(self, pixels: Any) -> np.ndarray:
        """Encode what `prepare` gave: float32 [N, D]."""
        import torch

        pixels = pixels.to(self.model.device, self.model.dtype)
        with torch_threads(self._threads), torch.inference_mode():
            if self._two_towers:
                return self.model.get_video_features(pixels).pooler_output.float().flatten(1).cpu().numpy()
            return self.model(pixels, **self._more).last_hidden_state.float().mean(dim=1).cpu().numpy()

    def __call__(self, clips: Sequence[Clip]) -> np.ndarray:
        """Encode a batch of clips, each with as many frames as the model takes: float32 [N, D]."""
        return self.run(self.prepare(clips))
