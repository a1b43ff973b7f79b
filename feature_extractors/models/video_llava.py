"""Video-LLaVA (arXiv 2311.10122): LanguageBind frames before a Vicuna decoder.

Every frame is its class token and its patches, all of them visual tokens; the centre square of a frame is seen. The
published checkpoint was trained on 8 frames a clip.
"""

from __future__ import annotations

from typing import Any

from feature_extractors.models.video_lm import Family, chat_turn


def turn(processor: Any, prompt: str) -> str:
    """The checkpoint's chat template, or Vicuna's format, for which early checkpoints have no template file."""
    if processor.chat_template:
        return chat_turn(processor, prompt)
    return f"USER: {processor.video_token}\n{prompt} ASSISTANT:"


FAMILY = Family("Video-LLaVA", 1, ("video_llava",), stacks=True, counts_positions=True, turn=turn)
