"""Choice of the content module for a fusion and the features it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from protocols.concatenated import ConcatenatedItems
from protocols.errors import BenchError, UserError, did_you_mean
from protocols.features import ItemFeatures
from protocols.wording import counted
from recommenders.encoder.cross_attention import CrossAttention
from recommenders.encoder.fusions import Fusion, check_views
from recommenders.encoder.layers import ExpertLayers, MixedLayers, UserLayers
from recommenders.encoder.projection import Content, ContentOptions, VectorContent


def content(
    features: ItemFeatures | None,
    n_warm: int,
    n_items: int,
    dim: int,
    fusion: Fusion,
    init_std: float,
    options: ContentOptions,
    user: int | None = None,
) -> Content:
    """Make the content part of an item encoder.

    Parameters
    ----------
    features
        Of all items of the problem.
    n_warm, n_items
        Warm items stand first.
    dim
        Width of the content vectors.
    fusion
        Its `layers` say what becomes of features of kind `layers`.
    user
        Width of user vectors, for `moe-user`; None: `dim`.

    Raises
    ------
    UserError
        If there are no features, or not of the kind that the fusion takes.
    """
    values = _checked(features, n_items, fusion)
    assert features is not None
    if fusion.kind == "cross-attention":
        check_views(fusion, features.space_id, len(features.parts) if isinstance(features, ConcatenatedItems) else 1)
        assert isinstance(features, ConcatenatedItems)
        return CrossAttention(features, n_warm, dim, init_std, options)
    if values.ndim == 2:
        return VectorContent(features, dim, init_std, options)
    if fusion.top:
        options = replace(options, top=fusion.top)
    if fusion.layers == "moe":
        return ExpertLayers(features, dim, init_std, options)
    if fusion.layers == "moe-user":
        return UserLayers(features, dim, init_std, options, user or dim)
    return MixedLayers(features, n_warm, dim, init_std, fusion, options)


def _checked(features: ItemFeatures | None, n_items: int, fusion: Fusion) -> np.ndarray:
    remedy = "choose --fusion id, or an extractor that makes features"
    if features is None:
        raise UserError(f"fusion {fusion.kind!r} needs item features and was given none", remedy=remedy)
    if not features.present.any():
        raise UserError(f"fusion {fusion.kind!r}: no item has a feature in {features.space_id}", remedy=remedy)
    values = features.values
    wanted = 4 if fusion.layers and fusion.layer is None else 2
    if values.ndim != wanted or not all(values.shape[1:]):
        what = "one vector for each layer and readout" if wanted == 4 else "one vector an item"
        raise UserError(f"fusion {fusion.kind!r} takes {what}; {features.space_id} has shape {values.shape}")
    if fusion.readout and wanted == 4 and fusion.readout not in features.readouts:
        raise did_you_mean(f"readout of {features.space_id}", fusion.readout, features.readouts)
    if len(values) != n_items:
        raise BenchError(
            f"{features.space_id} has {counted(len(values), 'row')} for {counted(n_items, 'item')}: align it first"
        )
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise BenchError(f"{features.space_id}: the feature of item number {int(np.argmax(bad))} is not finite")
    return values
