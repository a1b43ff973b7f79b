"""Types of models that write text about videos or images, and what was read of each with random weights.

A checkpoint of another type is tried as well; a reason here is part of the error that refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_VIDEOS = "takes no videos"
NO_TEMPLATE = "has no chat template"
THINKER = "is loaded by its thinker alone"
SEVERAL_STATES = "the layers of the decoder hand on several states a token"


@dataclass(frozen=True)
class ModelType:
    """Type of a checkpoint and what can be had of it; "": it works, else the reason why not.

    Attributes
    ----------
    kind
        `model_type` in config.json.
    label
        Name of the models.
    frames
        Form in which frames are given: `video` or `images`.
    captions
        Texts (`captions` and all that ask a chat model).
    states
        Decoder states (`hidden-states`, `linkedout`, `one-word`, `single-layer`).
    embedding
        Joint vector of frames and title (`video-embedding`), the last token of a bare decoder.
    """

    kind: str
    label: str
    frames: str = "video"
    captions: str = ""
    states: str = ""
    embedding: str = ""


TRIED: tuple[ModelType, ...] = (
    ModelType("qwen2_vl", "Qwen2-VL, VLM2Vec-V2"),
    ModelType("qwen2_5_vl", "Qwen2.5-VL"),
    ModelType("qwen3_vl", "Qwen3-VL, Qwen3-VL-Embedding"),
    ModelType("qwen3_5", "Qwen3.5"),
    ModelType("llava_onevision", "LLaVA-OneVision"),
    ModelType("llava_next_video", "LLaVA-NeXT-Video"),
    ModelType("video_llava", "Video-LLaVA", embedding=NO_TEMPLATE),
    ModelType("internvl", "InternVL 3.x"),
    ModelType("smolvlm", "SmolVLM2 (with the package num2words)"),
    ModelType("gemma3", "Gemma 3", "images", embedding=NO_VIDEOS),
    ModelType("gemma3n", "Gemma 3n", "images", states=SEVERAL_STATES, embedding=NO_VIDEOS),
    ModelType("gemma4", "Gemma 4"),
    ModelType("video_llama_3", "VideoLLaMA3"),
    ModelType("qwen2_5_omni", "Qwen2.5-Omni", embedding=THINKER),
    ModelType("qwen3_omni_moe", "Qwen3-Omni", embedding=THINKER),
)
