"""CLIP: mean-pooled CLIP image embeddings of a clip's frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import FrameOptions, ModelOptions

if TYPE_CHECKING:
    from feature_extractors.models.checkpoint.checkpoints import Checkpoint
    from protocols.features import Features


@dataclass(frozen=True)
class Clip(FrameOptions, ModelOptions):
    """Frames of each clip through the image tower of CLIP; the vector is the mean over frames.

    Each frame's vector is brought to length 1 first, so that every frame counts alike; their mean is not, so its length
    says how alike the frames are. The order of frames does not matter: motion is lost.

    Checkpoints are in the layout of open_clip. `dtype` is what open_clip understands by it: norms stay in float32.
    Options: `FrameOptions`, `ModelOptions`.
    """

    name: ClassVar[str] = "clip"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "CLIP (arXiv 2103.00020); OpenCLIP (arXiv 2212.07143)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.CLIP,)
    default_checkpoint: ClassVar[str] = defaults.CLIP
    pocket: ClassVar[str] = "CLIP"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        CheckpointError
            If the checkpoint's weights do not fit its configuration.
        """
        from feature_extractors.models import clip_image

        checkpoint = self.locate(context)
        frames = self.select_frames(source, context)
        return self.run_model("vector", clip_image.ImageTower, clip_image.VERSION, checkpoint, frames, context)

    def locate(self, context: ExtractContext, word: str = "", pocket: str = "", **how: Any) -> Checkpoint:
        """Find the checkpoint's files, in the layout of open_clip."""
        from feature_extractors.models.clip_image import LAYOUT

        return super().locate(context, word, pocket, layout=LAYOUT, **how)
