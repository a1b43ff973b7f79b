"""VideoMAE: mean-pooled token embeddings of a masked video autoencoder, a feature without words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import FrameOptions, ModelOptions
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.frame_policy import ClipTopK, FramePolicy
    from protocols.features import Features


@dataclass(frozen=True)
class VideoMae(FrameOptions, ModelOptions):
    """Frames of each clip through the encoder of a VideoMAE; the vector is the mean over its tokens.

    The tokens are the last hidden state as `VideoMAEModel` of transformers returns it: behind the final layer norm,
    unless the checkpoint's `use_mean_pooling` says that it has none there. Frames are resized, cropped and normalised
    as the checkpoint's own processor says.

    The recipe `microlens` follows the extraction script that the authors of MicroLens (arXiv 2309.15379) publish: five
    frames, hence with tubelets of two frames two moments, the fifth frame being left over; the first rows of the
    position table; no final layer norm, because the script builds its configuration from default values. Two things
    are our reading. Their five frames are consecutive ones at the middle of the video, here they are those of the
    policy (`uniform:5` unless said otherwise). They squeeze frames to a square and normalise them before the
    processor, which normalises again; here the processor is applied once.

    Weights with a decoder or a classifier serve too. Options: `FrameOptions`, `ModelOptions`.

    Attributes
    ----------
    recipe
        `checkpoint`: as the checkpoint's configuration says; `microlens`: see above.
    frames
        A frame policy that gives as many frames as the model takes; `auto`: that many, `uniform:`.
    """

    name: ClassVar[str] = "videomae"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "VideoMAE (arXiv 2203.12602)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.VIDEOMAE,)
    default_checkpoint: ClassVar[str] = defaults.VIDEOMAE
    pocket: ClassVar[str] = "VIDEOMAE"

    recipe: Literal["checkpoint", "microlens"] = "checkpoint"
    frames: str = "auto"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        UserError
            If the frame policy does not give as many frames as the model takes; before anything is decoded.
        CheckpointError
            If the checkpoint is not a VideoMAE, or its weights do not fit its configuration.
        """
        from feature_extractors.models import videomae

        checkpoint = self.locate(context)
        policy = self.policy(videomae.frames_wanted(checkpoint, self.recipe))
        frames = self.select_frames(source, context, policy)
        config = {"variant": self.recipe}
        return self.run_model(
            "vector", videomae.VideoMae, videomae.VERSION, checkpoint, frames, context, config, variant=self.recipe
        )

    def policy(self, wanted: int) -> FramePolicy | ClipTopK:
        """Return the frame policy, which must give `wanted` frames of every clip."""
        from feature_extractors.media.frame_policy import parse_any

        policy = parse_any(f"uniform:{wanted}" if self.frames == "auto" else self.frames, self.max_seconds)
        given = getattr(policy, "count", None)
        if given != wanted:
            given = "as many frames as a clip has room for" if given is None else f"{given} frames"
            short = self.recipe == "checkpoint" and given == "5 frames"
            raise UserError(
                f"videomae.frames={self.frames} gives {given}, the model takes {wanted}",
                remedy=f"--frames uniform:{wanted}" + (", or --set videomae.recipe=microlens" if short else ""),
            )
        return policy
