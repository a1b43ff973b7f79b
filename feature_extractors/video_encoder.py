"""Video encoder: mean-pooled tokens of V-JEPA 2, VideoPrism, VideoMAE and the like, features without words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import FrameOptions, ModelOptions
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.frame_policy import ClipTopK, FramePolicy
    from protocols.features import Features


@dataclass(frozen=True)
class VideoEncoder(FrameOptions, ModelOptions):
    """Frames of each clip through V-JEPA 2, VideoPrism, VideoMAE or another; the vector is the mean over its tokens.

    Any video encoder that `AutoModel` and `AutoVideoProcessor` of transformers load will do. Tokens are the last
    hidden state as the model returns it; a video-text model (VideoPrism's) gives its pooled video vector. For a
    VideoMAE read as the authors of MicroLens do, see `videomae`. InternVideo2 has no class in transformers.

    Options: `FrameOptions`, `ModelOptions`.

    Attributes
    ----------
    frames
        Frame policy; `auto`: `uniform:`, as many frames as the checkpoint was made for.
    """

    name: ClassVar[str] = "video-encoder"
    paper: ClassVar[str] = "V-JEPA 2 (arXiv 2506.09985); VideoPrism (arXiv 2402.13217)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.VIDEO_ENCODER,)
    default_checkpoint: ClassVar[str] = defaults.VIDEO_ENCODER
    pocket: ClassVar[str] = "VIDEOMAE"

    frames: str = "auto"
    batch: int = 8

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        UserError
            If the frame policy gives a number of frames that the model does not take; before anything is decoded.
        CheckpointError
            If the checkpoint is no video encoder, or its weights do not fit its configuration.
        """
        from feature_extractors.models import vision_encoders

        checkpoint = self.locate(context)
        policy = self.policy(*vision_encoders.frames_wanted(checkpoint))
        frames = self.select_frames(source, context, policy)
        return self.run_model(
            "vector", vision_encoders.VideoEncoder, vision_encoders.VERSION, checkpoint, frames, context
        )

    def policy(self, wanted: int, step: int) -> FramePolicy | ClipTopK:
        """Return the frame policy, which must give `wanted` frames of every clip, or a multiple of `step` above 0."""
        from feature_extractors.media.frame_policy import parse_any

        policy = parse_any(f"uniform:{wanted}" if self.frames == "auto" else self.frames, self.max_seconds)
        given = getattr(policy, "count", None)
        if given is None or (given != wanted and (not step or given % step)):
            more = f", or a multiple of {step}" if step else ""
            raise UserError(
                f"video-encoder.frames={self.frames} gives {given or 'as many frames as a clip has room for'}, "
                f"the model takes {wanted}{more}",
                remedy=f"--frames uniform:{wanted}",
            )
        return policy
