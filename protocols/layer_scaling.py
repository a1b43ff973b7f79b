"""Float16 storage of layer states with one scale a layer, so that large states never become infinite.

A state is `value * scale`. Scales are powers of two: dividing by one loses nothing but the last bits of numbers that
are some ten orders of magnitude below the largest of their layer.
"""

from __future__ import annotations

import numpy as np

#: The largest finite float16.
LARGEST = float(np.finfo(np.float16).max)


def to_float16(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert the states of one item to float16.

    Parameters
    ----------
    states
        [L, R, D], finite, any float type.

    Returns
    -------
    tuple
        float16 [L, R, D] without infinities, and float32 [L]: 1 where a layer fits as it is.

    Examples
    --------
    >>> values, scales = to_float16(np.array([[[1.5, -2.0]], [[100000.0, 1.0]]]))
    >>> values.tolist(), scales.tolist()
    ([[[1.5, -2.0]], [[50000.0, 0.5]]], [1.0, 2.0])
    """
    top = np.abs(states).reshape(len(states), -1).max(axis=1, initial=0.0).astype(np.float64)
    _, exponent = np.frexp(top / LARGEST)
    scales = np.where(top > LARGEST, np.exp2(exponent), 1.0)
    return (states / scales[:, None, None]).astype(np.float16), scales.astype(np.float32)


def to_common_scale(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Convert all items to one scale a layer, the largest that any of them needs.

    Parameters
    ----------
    values
        float16 [N, L, R, D], changed in place where an item's own scale is another.
    scales
        float32 [N, L], of each item.

    Returns
    -------
    np.ndarray
        float32 [L].
    """
    common = scales.max(axis=0, initial=1.0).astype(np.float32)
    for at, layer in zip(*np.nonzero(scales != common), strict=True):
        values[at, layer] = values[at, layer].astype(np.float32) * (scales[at, layer] / common[layer])
    return common
