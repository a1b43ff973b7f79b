"""Token batching: model calls of bounded size, cut from a batch by the numbers of tokens of its items.

The cut is a function of these numbers alone: a resumed run makes the same calls as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from protocols.wording import counted

#: Tokens of one model call, padding included. A policy like `fps:1` gives clips of very different lengths, and the
#: memory of a call grows with its longest clip times their number.
TOKENS = 1 << 16

#: Positions of the clips of a call in their batch, and the model's inputs for them.
Call = tuple[list[int], dict[str, Any]]


def by_tokens(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Cut a batch into model calls of at most `budget` tokens, padding included; items of like size go together.

    Parameters
    ----------
    sizes
        Tokens of each item.
    budget
        Tokens of one call; an item that has more by itself is called alone.

    Returns
    -------
    list
        Positions of the items of each call, ascending in a call; one call in the given order when all fit.

    Examples
    --------
    >>> by_tokens([5, 90, 6, 80], budget=200), by_tokens([5, 90, 6, 80], budget=400)
    ([[1, 3], [0, 2]], [[0, 1, 2, 3]])
    """
    if max(sizes, default=0) * len(sizes) <= budget:
        return [list(range(len(sizes)))] if sizes else []
    calls: list[list[int]] = []
    room = 0
    for at in sorted(range(len(sizes)), key=lambda at: (-sizes[at], at)):
        if room == 0:
            calls.append([])
            room = max(1, budget // max(1, sizes[at]))  # the first of a call is its longest
        calls[-1].append(at)
        room -= 1
    return [sorted(call) for call in calls]


def calls(inputs: Any, again: Callable[[Sequence[int]], Any] | None = None, budget: int = TOKENS) -> list[Call]:
    """Cut what a processor made of a batch into model calls.

    Parameters
    ----------
    inputs
        Tensors by name, filled up on the left: `input_ids` and `attention_mask` [B, T], whatever else has a row a clip,
        and `pixel_values_videos` either with a row a clip or, beside `video_grid_thw` [B, 3], with a row a patch.
    again
        Makes the inputs of some items anew, for processors whose outputs have no row an item.
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
    if again is not None and not _has_rows(inputs):
        return [(group, dict(again(group))) for group in groups]
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


def _has_rows(inputs: Any) -> bool:
    """Return True if every input has a row an item, or belongs to a video with a grid."""
    count = len(inputs["input_ids"])
    patches = {"pixel_values_videos"} if "video_grid_thw" in inputs else set()
    return all(len(value) == count for name, value in inputs.items() if name not in patches)


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
            raise ValueError(f"model input {name!r} has {counted(len(value), 'row')} for {counted(count, 'clip')}")
        if isinstance(value, torch.Tensor):
            rows = value[list(group)]
            found[name] = rows[:, width - longest :] if rows.ndim == 2 and rows.shape[1] == width else rows
        else:
            found[name] = [value[at] for at in group]
    return found
