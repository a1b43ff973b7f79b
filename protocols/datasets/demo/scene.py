"""Factors, frames and sound of a demo clip, for code that renders or describes clips."""

from __future__ import annotations

from protocols.datasets.demo.drawing import render_frames
from protocols.datasets.demo.factors import (
    FPS,
    HELD_BACK,
    Scene,
    all_factors,
    gold_description,
    is_held_back,
    named_attributes,
    sample_scene,
)
from protocols.datasets.demo.sound import SAMPLE_RATE, render_audio

__all__ = [
    "FPS",
    "HELD_BACK",
    "SAMPLE_RATE",
    "Scene",
    "all_factors",
    "gold_description",
    "is_held_back",
    "named_attributes",
    "render_audio",
    "render_frames",
    "sample_scene",
]
