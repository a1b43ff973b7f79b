"""Video embedding: one vector of frames, sound and title of each clip, by a multimodal embedding model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import FrameOptions, ModelOptions

if TYPE_CHECKING:
    from protocols.features import Features


@dataclass(frozen=True)
class VideoEmbedding(FrameOptions, ModelOptions):
    """Frames, sound and title of each clip through one multimodal embedding model.

    For Qwen3-VL-Embedding, EmbeddingGemma 2, VLM2Vec-V2 and PE-AV. Pooling, instruction and normalisation are those of
    the checkpoint's own modules; of a bare decoder the last token is read, at length 1. Models without an audio part
    see frames and title alone; PE-AV, which has no place for a text beside frames and sound, leaves the title out.
    A clip without sound is embedded from the rest, with a note, an item without a title too.

    Options: `FrameOptions`, `ModelOptions`.

    Attributes
    ----------
    instruction
        Text, or the name of one of the checkpoint's prompts (`Clustering`); empty: its prompt of documents or its
        default one, else that of Qwen3-VL-Embedding; `none`.
    title, sound
        Whether the model is given them.
    """

    name: ClassVar[str] = "video-embedding"
    paper: ClassVar[str] = "Qwen3-VL-Embedding (arXiv 2601.04720)"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.VIDEO_EMBEDDING,)
    default_checkpoint: ClassVar[str] = defaults.VIDEO_EMBEDDING
    pocket: ClassVar[str] = "CAPTIONER"

    instruction: str = ""
    title: bool = True
    sound: bool = True
    batch: int = 8

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Encode all clips.

        Raises
        ------
        CheckpointError
            If the checkpoint takes no videos, or its weights do not fit its configuration.
        """
        from feature_extractors.models import joint_embedding, pe_av
        from feature_extractors.models.checkpoint.model_classes import read_config
        from feature_extractors.models.joint_embedding import TitledClip
        from feature_extractors.pipeline.av_reader import with_sound
        from feature_extractors.pipeline.side_texts import with_side_texts

        checkpoint = self.locate(context)
        kind = read_config(checkpoint).get("model_type")
        heard = self.sound and joint_embedding.takes_sound(checkpoint)
        titled = self.title and kind != pe_av.MODEL_TYPE
        frames = self.select_frames(source, context)
        inputs = with_sound(frames) if heard else frames
        inputs = with_side_texts(inputs, TitledClip.join, *([source.titles] if titled else []))
        config: dict[str, Any] = {"title": titled}
        if kind == pe_av.MODEL_TYPE:
            return self.run_model("vector", pe_av.PeEmbedder, pe_av.VERSION, checkpoint, inputs, context, config)
        config["instruction"] = self.instruction
        load, version = joint_embedding.JointEmbedder, joint_embedding.VERSION
        return self.run_model(
            "vector", load, version, checkpoint, inputs, context, config, instruction=self.instruction
        )
