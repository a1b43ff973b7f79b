"""Batches of a video language model cut into calls by their tokens, without preparing anything twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from feature_extractors.pipeline.batching import by_tokens

#: Tokens of one model call, padding included. A policy like `fps:1` gives clips of very different lengths, and the
#: memory of a call grows with its longest clip times their number.
TOKENS = 1 << 16

#: Positions of the clips of a call in their batch, and the model's inputs for them.
Call = tuple[list[int], dict[str, Any]]


def calls(inputs: Any, budget: int = TOKENS) -> list[Call]:
    """Cut what a processor made of a batch into model calls.

    Parameters
    ----------
    inputs
        Tensors by name, filled up on the left: `input_ids` and `attention_mask` [B, T], whatever else has a row a clip,
        and `pixel_values_videos` either with a row a clip or, beside `video_grid_thw` [B, 3], with a row a patch.
    budget
        Most tokens of a call; a clip with more is called alone.

    Returns
    -------
    list
        (positions of the clips, their inputs) of each call. One call holds the very tensors of `inputs`.
    """
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    groups = by_tokens(lengths, budget)
    if len(groups) <= 1:
        return [(group, dict(inputs)) for group in groups]
    return [(group, _rows(inputs, group, max(lengths[at] for at in group))) for group in groups]


def on_device(
    inputs: Mapping[str, Any], model: Any, casts: Callable[[str], bool] = lambda name: True
) -> dict[str, Any]:
    """Move inputs to a model's device; floating-point ones that `casts` names take the model's precision."""
    import torch

    moved: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            value = value.to(model.device, model.dtype if value.is_floating_point() and casts(name) else None)
        moved[name] = value
    return moved


def _rows(inputs: Any, group: Sequence[int], longest: int) -> dict[str, Any]:
    """Rows of some clips, the padding on the left cut to what they need."""
    import torch

    count, width = inputs["input_ids"].shape
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if name == "pixel_values_videos" and "video_grid_thw" in inputs:
            patches = value.split(inputs["video_grid_thw"].prod(dim=1).tolist())
            found[name] = torch.cat([patches[at] for at in group])
            continue
        if len(value) != count:
            raise ValueError(f"model input {name!r} has {len(value)} rows for {count} clips")
        if isinstance(value, torch.Tensor):
            rows = value[list(group)]
            found[name] = rows[:, width - longest :] if rows.ndim == 2 and rows.shape[1] == width else rows
        else:
            found[name] = [value[at] for at in group]
    return found
