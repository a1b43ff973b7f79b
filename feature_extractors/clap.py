"""CLAP: audio embeddings of a clip's sound, the raw-audio baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import AudioOptions, ModelOptions

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class Clap(AudioOptions, ModelOptions):
    """The sound of each clip through the audio tower of CLAP.

    A long sound is cut into windows of the checkpoint's length (10 s), one after the other; the vector is the mean of
    theirs, weighted by their seconds. Nothing is drawn at random. Clips without sound, and digital silence, have
    status `empty`. Options: `AudioOptions`, `ModelOptions`.
    """

    name: ClassVar[str] = "clap"
    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = "CLAP (arXiv 2211.06687)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.CLAP,)
    default_checkpoint: ClassVar[str] = defaults.CLAP
    pocket: ClassVar[str] = "CLAP"

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode the sound of all clips."""
        from feature_extractors.models import clap

        checkpoint = self.locate(context)
        return self.run_model(
            "vector", clap.Clap, clap.VERSION, checkpoint, self.select_audio(source, context), context
        )
