"""Engines: where chat models and text encoders compute, and how frames get there."""

from __future__ import annotations

from typing import Literal

#: `local`: transformers, in this process. `openai`: a server with OpenAI's interface. `vllm`: vLLM, in this process.
Engine = Literal["local", "openai", "vllm"]
#: Frames of a message to an engine that is not `local`: lossy images, lossless ones, or one lossless video.
FramesAs = Literal["jpeg", "png", "video"]
