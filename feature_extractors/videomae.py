"""VideoMAE: the frames of a clip as a vector, by a model that was taught by filling in masked video; no words in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models import checkpoint_resolution
from protocols.errors import UserError

if TYPE_CHECKING:
    from feature_extractors.media.frame_policy import ClipTopK, FramePolicy
    from protocols.features import Features

REAL = "MCG-NJU/videomae-base"


@dataclass(frozen=True)
class VideoMae(Extractor):
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

    Attributes
    ----------
    checkpoint, revision
        A directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one on simulated data, else
        MCG-NJU/videomae-base. Weights with a decoder or a classifier serve too.
    recipe
        `checkpoint`: as the checkpoint's configuration says; `microlens`: see above.
    frames
        Frame policy, see `frames.py`; it must give as many frames as the model takes. `auto`: that many, `uniform:`.
    max_seconds
        Frames from this time of a clip on are not looked at, unless the policy sets its own end; none: all are.
    frame_clip
        Checkpoint of the CLIP that chooses frames with `clip-topk`, as of `clip`.
    dtype
        Of the model's arithmetic.
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "videomae"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "VideoMAE (arXiv 2203.12602)"
    licence: ClassVar[str] = "videomae-base: CC-BY-NC-4.0"
    checkpoints: ClassVar[str] = REAL

    checkpoint: str = "auto"
    recipe: Literal["checkpoint", "microlens"] = "checkpoint"
    frames: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch: int = 16
    revision: str | None = None
    max_seconds: float | None = 240.0
    frame_clip: str = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError("videomae.batch must be at least 1")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoint on simulated data, by the real one elsewhere."""
        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        frame_clip = checkpoint_resolution.choosing(self.frames, self.frame_clip, simulated)
        return replace(self, checkpoint=checkpoint, frame_clip=frame_clip)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        UserError
            If the frame policy does not give as many frames as the model takes; before anything is decoded.
        CheckpointError
            If the checkpoint is not a VideoMAE, or its weights do not fit its configuration.
        """
        from feature_extractors.media import video
        from feature_extractors.models import videomae
        from feature_extractors.pipeline.frame_selection import look
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage
        from feature_extractors.pocket import VIDEOMAE
        from protocols.features import FeatureSpace

        found = checkpoint_resolution.found(self.checkpoint, REAL, VIDEOMAE, context, self.revision)
        policy = self.policy(videomae.frames_wanted(found, self.recipe))
        seen = look(policy, self.frame_clip, source, context)
        config: dict[str, Any] = {
            "parents": seen.parent_ids,
            "checkpoint": found.fingerprint,
            "loader": videomae.VERSION,
            "variant": self.recipe,
            "frames": seen.key,
            "decoder": video.decoder_key(),
            "dtype": self.dtype,
        }
        space = FeatureSpace(
            f"{self.name}.vector", self.code_version, "vector", config, seen.provenance(found.provenance)
        )
        model = partial(videomae.VideoMae, found, self.dtype, context.device, self.recipe, context.threads)
        stage = Stage(space, f"{self.name} ({found.name})", self.batch, model, reader=seen.pool)
        return seen.timed(run_stage(stage, seen.inputs, context))

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
