"""Image encoder: frames of each clip through any vision tower, averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import FrameOptions, ModelOptions

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class ImageEncoder(FrameOptions, ModelOptions):
    """Frames of each clip through the vision tower of SigLIP 2, DINOv3, CLIP or another; the vector is their mean.

    Each frame's vector is brought to length 1 first, so that every frame counts alike. The order of frames does not
    matter: motion is lost. Any checkpoint that `AutoModel` and `AutoImageProcessor` of transformers load will do.

    Options: `FrameOptions`, `ModelOptions`.

    Attributes
    ----------
    pooling
        Vector of a frame: `pooled`, as the model itself pools it (class token, attention pooling, a two-tower model's
        projection); `mean`, the mean over its last tokens. `head`: no mean over frames, but the model's attention
        pooling head (SigLIP, SigLIP 2, AIMv2) over the tokens of all frames of a clip at once.
    """

    name: ClassVar[str] = "image-encoder"
    paper: ClassVar[str] = "SigLIP 2 (arXiv 2502.14786); DINOv3 (arXiv 2508.10104)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.IMAGE_ENCODER,)
    default_checkpoint: ClassVar[str] = defaults.IMAGE_ENCODER
    pocket: ClassVar[str] = "IMAGE_ENCODER"

    pooling: Literal["pooled", "mean", "head"] = "pooled"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        CheckpointError
            If the checkpoint's weights do not fit its configuration, or it has no such pooling.
        """
        from feature_extractors.models import vision_encoders

        return self.run_model(
            "vector",
            vision_encoders.ImageEncoder,
            vision_encoders.VERSION,
            self.locate(context),
            self.select_frames(source, context),
            context,
            {"pooling": self.pooling},
            pooling=self.pooling,
        )
