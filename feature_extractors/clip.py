"""CLIP: the frames of a clip as a vector, each by itself, by the image tower of a model taught with captions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models import checkpoint_resolution
from protocols.errors import UserError

if TYPE_CHECKING:
    from protocols.features import Features

REAL = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


@dataclass(frozen=True)
class Clip(Extractor):
    """Frames of each clip through the image tower of CLIP; the vector is the mean over frames.

    Each frame's vector is brought to length 1 first, so that every frame counts alike; their mean is not, so its length
    says how alike the frames are. The order of frames does not matter: what moves cannot be told.

    Attributes
    ----------
    checkpoint, revision
        In the layout of open_clip: a directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one
        on simulated data, else ViT-B-32 of LAION (laion2b_s34b_b79k).
    frames
        Frame policy, see `frames.py`.
    max_seconds
        Frames from this time of a clip on are not looked at, unless the policy sets its own end; none: all are.
    frame_clip
        Checkpoint of the CLIP that chooses frames with `clip-topk`; a word as for `checkpoint`.
    dtype
        Of the model's arithmetic, as open_clip understands it: norms stay in float32.
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "clip"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "CLIP (arXiv 2103.00020); OpenCLIP (arXiv 2212.07143)"
    licence: ClassVar[str] = "CLIP-ViT-B-32-laion2B-s34B-b79K: MIT"
    checkpoints: ClassVar[str] = REAL

    checkpoint: str = "auto"
    frames: str = "uniform:8"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch: int = 16
    revision: str | None = None
    max_seconds: float | None = 240.0
    frame_clip: str = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError("clip.batch must be at least 1")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoint on simulated data, by the real one elsewhere."""
        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        frame_clip = checkpoint_resolution.choosing(self.frames, self.frame_clip, simulated)
        return replace(self, checkpoint=checkpoint, frame_clip=frame_clip)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        CheckpointError
            If the checkpoint's weights do not fit its configuration.
        """
        from feature_extractors.media import video
        from feature_extractors.models import clip_image
        from feature_extractors.pipeline.frame_selection import looked_at
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage
        from feature_extractors.pocket import CLIP
        from protocols.features import FeatureSpace

        found = checkpoint_resolution.found(
            self.checkpoint, REAL, CLIP, context, self.revision, layout=clip_image.LAYOUT
        )
        seen = looked_at(self.frames, self.max_seconds, self.frame_clip, source, context)
        config: dict[str, Any] = {
            "parents": seen.parent_ids,
            "checkpoint": found.fingerprint,
            "loader": clip_image.VERSION,
            "frames": seen.key,
            "decoder": video.decoder_key(),
            "dtype": self.dtype,
        }
        space = FeatureSpace(
            f"{self.name}.vector", self.code_version, "vector", config, seen.provenance(found.provenance)
        )
        model = partial(clip_image.ImageTower, found, self.dtype, context.device, context.threads)
        stage = Stage(space, f"{self.name} ({found.name})", self.batch, model, reader=seen.pool)
        return seen.timed(run_stage(stage, seen.inputs, context))
