"""CLAP: the sound of a clip as a vector, without a word in between; the raw-audio baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models import checkpoint_resolution
from protocols.errors import UserError

if TYPE_CHECKING:
    from protocols.features import Features

REAL = "laion/clap-htsat-unfused"


@dataclass(frozen=True)
class Clap(Extractor):
    """The sound of each clip through the audio tower of CLAP.

    A long sound is cut into windows of the checkpoint's length (10 s), one after the other; the vector is the mean of
    theirs, weighted by their seconds. Nothing is drawn at random. Clips without sound, and digital silence, have
    status `empty`.

    Attributes
    ----------
    checkpoint, revision
        A directory, a hub id (with a revision), `pocket`, `random`; `auto`: the pocket one on simulated data, else
        laion/clap-htsat-unfused.
    max_seconds
        Sound from this time on is not listened to.
    dtype
        Of the model's arithmetic.
    batch
        Clips per model call; changes speed and memory, not the key.
    """

    name: ClassVar[str] = "clap"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "CLAP (arXiv 2211.06687)"
    licence: ClassVar[str] = "clap-htsat-unfused: Apache-2.0"
    checkpoints: ClassVar[str] = REAL

    checkpoint: str = "auto"
    max_seconds: float = 240.0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch: int = 16
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or not self.max_seconds > 0:
            raise UserError("clap.batch must be at least 1, clap.max_seconds above 0")

    def resolved(self, simulated: bool) -> Self:
        """Replace `auto` by the pocket checkpoint on simulated data, by the real one elsewhere."""
        checkpoint = checkpoint_resolution.resolved(self.checkpoint, simulated, REAL)
        return replace(self, checkpoint=checkpoint)

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Listen to all clips."""
        from feature_extractors.media.audio import Listening
        from feature_extractors.media.pool import DecodePool
        from feature_extractors.models import clap
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, video_inputs
        from feature_extractors.pocket import CLAP
        from protocols.features import FeatureSpace

        wanted = Listening(self.max_seconds)
        found = checkpoint_resolution.found(self.checkpoint, REAL, CLAP, context, self.revision)
        config: dict[str, Any] = {
            "parents": [],
            "checkpoint": found.fingerprint,
            "loader": clap.VERSION,
            "audio": wanted.key,
            "dtype": self.dtype,
        }
        space = FeatureSpace(f"{self.name}.vector", self.code_version, "vector", config, found.provenance)
        model = partial(clap.Clap, found, self.dtype, context.device, context.threads)
        stage = Stage(
            space, f"{self.name} ({found.name})", self.batch, model, reader=lambda workers: DecodePool(workers, wanted)
        )
        return run_stage(stage, video_inputs(source, context), context)
