"""LLaVA-OneVision (arXiv 2408.03326): SigLIP frames, pooled two by two, before a Qwen2 decoder.

The tokens of all frames are followed by one learned "new line" token, which counts as a visual one. Frames are resized
to a square, whatever the shape of the clip.
"""

from __future__ import annotations

from feature_extractors.models.video_lm import Family

FAMILY = Family("LLaVA-OneVision", 1, ("llava_onevision",), stacks=True, counts_positions=True)
