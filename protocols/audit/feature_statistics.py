"""Leak audit of feature statistics: mean, scale and whitening recomputed from the fitted items."""

from __future__ import annotations

import numpy as np

from protocols.concatenated import ConcatenatedItems
from protocols.features import ItemFeatures, centre, copies, deviation, shrinkage, whitening_factors


def wrong_statistics(features: ItemFeatures, fitted: np.ndarray, items: np.ndarray) -> str:
    """Compare mean, scale, whitening and the value of absent items with those of the fitted items.

    Parameters
    ----------
    features
        As aligned to the items of a problem.
    fitted
        Bool [M]: items with an event in the fitted rows.
    items
        Raw ids [M], for the message.

    Returns
    -------
    str
        The first violation, or an empty text.
    """
    if isinstance(features, ConcatenatedItems):
        return next(filter(None, (wrong_statistics(part, fitted, items) for part in features.parts)), "")
    values, mean = features.values, features.mean
    known = values[features.present & fitted].astype(np.float32)
    if not len(known):
        return ""
    own, spread = known.mean(axis=0), deviation(known)
    scale = float(np.sqrt(np.mean(np.square(spread))))
    centred = bool(mean.any()) or features.scale != 1.0  # else only the value of absent items was fitted
    if centred:
        close = np.isclose(own, mean, rtol=1e-4, atol=1e-5 * max(features.scale, 1e-6))
        if not close.all() or not np.isclose(scale if scale > 0 else 1.0, features.scale, rtol=1e-3):
            first = int(np.argmin(close.reshape(-1)))
            return f"mean or scale of {features.space_id} are not those of the fitted items, first in dimension {first}"
    if features.layer_scale is not None:
        each = np.sqrt(np.square(spread, dtype=np.float64).mean(axis=(1, 2)))
        wrong = ~np.isclose(np.where(each > 0, each, 1.0), features.layer_scale, rtol=1e-3)
        if wrong.any():
            return f"the scale of layer {int(np.argmax(wrong))} of {features.space_id} is not that of the fitted items"
    absent = np.flatnonzero(~features.present)
    rows = values[absent].reshape(len(absent), mean.size)
    filled = mean.astype(values.dtype) if centred else own
    other = ~np.isclose(rows, filled.reshape(-1), rtol=0 if centred else 1e-3, atol=0 if centred else 1e-4 * scale)
    if other.any():
        item = items[absent[np.argmax(other.any(axis=1))]]
        return f"item {item!r} has no feature, and its value is not the mean"
    if features.transform is None:
        return ""
    if features.transform.ndim == 1:
        wrong = ~np.isclose(features.transform * spread, 1, rtol=1e-2) & (features.transform != 0)
        return f"the deviations of {features.space_id} are not those of the fitted items" if wrong.any() else ""
    column = _not_whitened(known, features.transform)
    if column < 0:
        return ""
    return f"the whitening of {features.space_id} is not that of the fitted items, first in column {column}"


def _not_whitened(known: np.ndarray, transform: np.ndarray) -> int:
    """Find the first column [K] that does not whiten these vectors [N, D]; -1 if all do.

    Whitening is checked by what it must do, without finding the directions again, of which those of equal variance are
    arbitrary: no two columns correlate, and each has the length that follows from the variances of all.
    """
    centred, exact = centre(known), transform.astype(np.float64)
    made, length = centred @ exact, np.linalg.norm(exact, axis=0)
    if not length.any():  # all vectors are equal
        return -1 if np.square(centred).sum(axis=1).mean() <= 1e-10 * np.square(known).sum(axis=1).mean() else 0
    if not length.all():
        return int(np.argmin(length))
    scores = made / length
    expected = whitening_factors(np.square(scores).mean(axis=0), shrinkage(scores, copies(known)))
    covariance = made.T @ made / len(known)
    mixed = np.abs(covariance - np.diag(np.diag(covariance))).max(axis=0) > 1e-3
    wrong = mixed | ~np.isclose(length, expected, rtol=1e-2)
    return int(np.argmax(wrong)) if wrong.any() else -1
