"""LLaVA-OneVision (arXiv 2408.03326) and Video-LLaVA (arXiv 2311.10122) as families of video language models.

LLaVA-OneVision puts SigLIP frames, pooled two by two, before a Qwen2 decoder. The tokens of all frames are followed by
one learned "new line" token, which counts as a visual one. Frames are resized to a square, whatever the shape of the
clip.

Video-LLaVA puts LanguageBind frames before a Vicuna decoder. Every frame is its class token and its patches, all of
them visual tokens; the centre square of a frame is seen. The published checkpoint was trained on 8 frames a clip.
"""

from __future__ import annotations

from typing import Any

from feature_extractors.models.video_lm import Family, chat_turn


def vicuna_turn(processor: Any, prompt: str) -> str:
    """Write the checkpoint's chat template, or Vicuna's format, for which early checkpoints have no template file."""
    if processor.chat_template:
        return chat_turn(processor, prompt)
    return f"USER: {processor.video_token}\n{prompt} ASSISTANT:"


ONEVISION = Family("LLaVA-OneVision", 1, ("llava_onevision",), stacks=True, counts_positions=True)
VIDEO_LLAVA = Family("Video-LLaVA", 1, ("video_llava",), stacks=True, counts_positions=True, turn=vicuna_turn)
