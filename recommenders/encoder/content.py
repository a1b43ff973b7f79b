"""From frozen features to content vectors: the trained part of an item encoder that knows nothing of ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

import protocols.features
from protocols.concatenated import ConcatenatedItems
from protocols.errors import BenchError, UserError, did_you_mean
from protocols.features import ItemFeatures, row_slices, whitening
from recommenders.base import TWO_VIEWS, Fusion


@dataclass(frozen=True)
class ContentOptions:
    """What a model may choose about content.

    Attributes
    ----------
    activation
        `none`: content is linear in the features; `relu`: with a bias and cut off at zero, as DFF has it.
    whiten
        Of `softmax` and `uniform`: all directions of the mean of the layers weigh the same.
    temperature, top, balance
        Of `moe` and `moe-user`: of the softmax over layers; how many are kept (0: all); weight of the term that pulls
        the layers' mean weights together.
    """

    activation: str = "none"
    whiten: bool = False
    temperature: float = 1.0
    top: int = 0
    balance: float = 0.0


class Content(nn.Module):
    """Content vectors v [N, d] of rows of the features; the features are no parameters.

    Attributes
    ----------
    features
        As in the store, [M, ...].
    """

    features: Tensor
    mean: Tensor

    def __init__(self, features: ItemFeatures) -> None:
        super().__init__()
        #: Whether there is too much of them to make vectors of all items at every training step.
        self.large = features.values.nbytes > protocols.features.LARGE
        # copies: whatever training did to them would otherwise happen to the caller's array too, unseen; what is
        # large is shared, and only read
        held = torch.from_numpy(features.values) if self.large else torch.tensor(features.values)
        self.register_buffer("features", held, persistent=False)
        self.register_buffer("mean", torch.tensor(features.mean, dtype=torch.float32), persistent=False)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        raise NotImplementedError

    def layer_weights(self) -> list[float]:
        """Mean weight of each layer; empty for features of one vector."""
        return []

    def user_weights(self, users: Tensor) -> Tensor:
        """Weights of the layers for user vectors [..., d], of a content that leaves its layers apart: [..., L]."""
        raise NotImplementedError

    def item_weights(self, rows: slice) -> Tensor | None:
        """Weights of the layers for each of some items, [N, L]; None where items have none of their own."""
        return None

    def penalty(self) -> Tensor | None:
        """What a training step adds to the loss, for the table it has made last; None: nothing."""
        return None


def projection(inputs: int, dim: int, init_std: float, options: ContentOptions) -> nn.Linear:
    """Make P at N(0, init_std^2); without a bias, but for content that is cut off at zero."""
    made = nn.Linear(inputs, dim, bias=options.activation == "relu")
    nn.init.normal_(made.weight, std=init_std)
    if options.activation == "relu":
        nn.init.zeros_(made.bias)
    return made


def projected(made: nn.Linear, centred: Tensor, transform: Tensor | None, scale: float = 1.0) -> Tensor:
    """P z / sqrt(K) for features that are centred and not yet divided, see `ItemFeatures`; with a bias cut off at 0."""
    weight = made.weight / made.in_features**0.5
    if transform is None:
        weight = weight / scale
    else:
        weight = weight @ transform.T if transform.ndim == 2 else weight * transform
    content = nn.functional.linear(centred, weight, made.bias)
    return content if made.bias is None else content.relu()


class VectorContent(Content):
    """v = P z / sqrt(K), with z the standardised feature of K dimensions (see `protocols.features.ItemFeatures`).

    P starts at N(0, init_std^2), which gives every coordinate of v the variance init_std^2 too, because the mean
    variance of a dimension of z is one. A step of Adam moves each weight by about the learning rate, hence v by up to
    sqrt(K) times as much as an id vector. With a factor 1/K the two would be equally fast at the most; then ids have
    been learned, and early stopping ends the training, before content is. P has no bias (unless it is cut off): a
    constant added to all items changes no softmax and would leak into padding.
    """

    transform: Tensor | None

    def __init__(self, features: ItemFeatures, dim: int, init_std: float, options: ContentOptions) -> None:
        super().__init__(features)
        matrix = features.transform
        self.scale = float(features.scale)
        self.register_buffer("transform", None if matrix is None else torch.tensor(matrix), persistent=False)
        self.projection = projection(features.width, dim, init_std, options)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        centred = self.features[rows].float() - self.mean
        return projected(self.projection, centred, self.transform, self.scale)


class MixedLayers(Content):
    """v = P T' (sum over layers of alpha_l z_l) / sqrt(K), the layer fusion of DFF (arXiv 2512.21863, released code).

    alpha = softmax(w), one weight a layer for all items, learned from equal ones (`softmax`) or left equal
    (`uniform`). z_l is the state of one readout at layer l, centred and divided by the layer's own scale, where the
    released code takes states as they are and the largest layers count most. The layers of a residual network share
    their directions, so one T [D, K] serves all of them: the whitening of the mean of the z_l, or one number that
    gives it the size 1; fitted on training items. v starts as large as an id vector.
    """

    layer_scale: Tensor
    transform: Tensor

    def __init__(
        self, features: ItemFeatures, n_warm: int, dim: int, init_std: float, fusion: Fusion, options: ContentOptions
    ) -> None:
        super().__init__(features)
        assert features.layer_scale is not None
        self.readout = features.readouts.index(fusion.chosen_readout(features.readouts))
        self.register_buffer("layer_scale", torch.tensor(features.layer_scale)[:, None], persistent=False)
        count, _, width = features.values.shape[1:]
        learned = fusion.layers == "softmax"
        self.weights = nn.Parameter(torch.ones(count), requires_grad=learned)
        known = np.arange(len(features.values)) < n_warm
        wanted = known & features.present
        with torch.no_grad():
            parts = row_slices(features.values) if self.large else [slice(None)]
            rows = [torch.from_numpy(np.arange(len(wanted))[part][wanted[part]]) for part in parts]
            mean = torch.cat([self._mixed(row) for row in rows]).numpy()
        size = float(np.sqrt(np.square(mean).mean())) if len(mean) else 0.0
        matrix = np.eye(width, dtype=np.float32) / (size or 1.0)
        if options.whiten and size > 0:
            matrix = whitening(mean)
        self.register_buffer("transform", torch.from_numpy(matrix), persistent=False)
        self.projection = projection(matrix.shape[1], dim, init_std, options)

    def _mixed(self, rows: slice | Tensor) -> Tensor:
        # sum of alpha_l (h_l - mean_l) / scale_l, with nothing of the size of h but h itself
        weight = self.weights.softmax(dim=0) / self.layer_scale[:, 0]
        states = self.features[rows, :, self.readout].float()
        return weight @ states - weight @ self.mean[:, self.readout]

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        return projected(self.projection, self._mixed(rows), self.transform)

    def layer_weights(self) -> list[float]:
        """Weights of the layers."""
        return self.weights.detach().softmax(dim=0).tolist()


class ExpertLayers(Content):
    """v_i = sum over layers of w_il c_il: an expert for each layer, weights for each item.

    Our reconstruction of LinkedOut (arXiv 2512.16891), whose equations are not published. The expert of layer l makes
    c_l = LN(W_l [pool(OLD_l); pool'(NEW_l)]), OLD being the readouts of the context's tokens and NEW those of newly
    decoded tokens (`new...`; left out where there are none), pooled by attention with a learned query for each layer.
    The router makes w = softmax(G [c_1; ...; c_L] / temperature), of which an item may keep the `top` largest alone.
    The gain of LN starts at init_std * sqrt(L): v starts about as large as an id vector.
    """

    layer_scale: Tensor

    def __init__(self, features: ItemFeatures, dim: int, init_std: float, options: ContentOptions) -> None:
        super().__init__(features)
        assert features.layer_scale is not None
        count, _, width = features.values.shape[1:]
        if not 0 <= options.top <= count:
            raise UserError(f"layers_top={options.top}: the features have {count} layers; 0 keeps them all")
        # a mean over L layers that have nothing in common is smaller by sqrt(L)
        self.options, self.gain = options, init_std * count**0.5
        self.register_buffer("layer_scale", torch.tensor(features.layer_scale)[:, None, None], persistent=False)
        new = [at for at, name in enumerate(features.readouts) if name.startswith("new")]
        old = [at for at in range(len(features.readouts)) if at not in new]
        self.groups = [group for group in (old, new) if group]
        self.queries = nn.Parameter(torch.zeros(len(self.groups), count, width))
        inputs = len(self.groups) * width
        self.experts = nn.Parameter(torch.randn(count, inputs, dim) / inputs**0.5)
        self.norm = nn.LayerNorm(dim)
        nn.init.constant_(self.norm.weight, self.gain)
        self.router = nn.Linear(count * dim, count)
        nn.init.normal_(self.router.weight, std=(count * dim) ** -0.5)
        nn.init.zeros_(self.router.bias)
        self._importance: Tensor | None = None

    def compressed(self, rows: slice | Tensor) -> Tensor:
        """What the experts make of each layer, [N, L, d]."""
        z = (self.features[rows].float() - self.mean) / self.layer_scale  # [N, L, R, D]
        pooled = []
        for query, group in zip(self.queries, self.groups, strict=True):
            part = z[:, :, group]
            weight = torch.einsum("nlrd,ld->nlr", part, query / part.shape[-1] ** 0.5).softmax(dim=-1)
            pooled.append(torch.einsum("nlr,nlrd->nld", weight, part))
        return self.norm(torch.einsum("nli,lid->nld", torch.cat(pooled, dim=-1), self.experts))

    def routed(self, compressed: Tensor) -> Tensor:
        """Weights of the layers for each item, [N, L]; each row sums to one."""
        return self._weights(self.router(compressed.flatten(1) / self.gain))

    def _weights(self, logits: Tensor) -> Tensor:
        logits = logits / self.options.temperature
        if 0 < self.options.top < logits.shape[-1]:
            kept = logits.topk(self.options.top, dim=-1).indices
            logits = torch.full_like(logits, -torch.inf).scatter(-1, kept, logits.gather(-1, kept))
        return logits.softmax(dim=-1)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        compressed = self.compressed(rows)
        weights = self.routed(compressed)
        self._importance = weights.mean(dim=0)
        return torch.einsum("nl,nld->nd", weights, compressed)

    def item_weights(self, rows: slice) -> Tensor | None:
        """Weights of the layers for each of some items, [N, L]."""
        return self.routed(self.compressed(rows))

    def layer_weights(self) -> list[float]:
        """Mean weights of the layers, in the table that was made last."""
        return [] if self._importance is None else self._importance.detach().tolist()

    def penalty(self) -> Tensor | None:
        """Balance * (L * sum of squared mean weights - 1): zero when all layers weigh the same on the mean."""
        if not self.options.balance or self._importance is None:
            return None
        return self.options.balance * (len(self._importance) * self._importance.square().sum() - 1)


class UserLayers(ExpertLayers):
    """c_il apart for each layer, [N, L, d]: the score is the sum over layers of w_l(u) <u, x_il>.

    As `ExpertLayers`, but the router makes its weights of the user's vector u, w = softmax(G u / temperature),
    equal at first, instead of the item's layers. Ours too: LinkedOut says "conditioned on the history" of its mixture.
    """

    def __init__(self, features: ItemFeatures, dim: int, init_std: float, options: ContentOptions, user: int) -> None:
        super().__init__(features, dim, init_std, options)
        count = features.values.shape[1]
        self.router = nn.Linear(user, count)
        nn.init.zeros_(self.router.weight)  # all layers weigh the same at first, for every user
        nn.init.zeros_(self.router.bias)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items, one a layer [N, L, d]."""
        return self.compressed(rows)

    def item_weights(self, rows: slice) -> None:
        """Return None: weights belong to users."""
        return

    def user_weights(self, users: Tensor) -> Tensor:
        """Weights of the layers for user vectors [..., d]: [..., L]; each row sums to one."""
        weights = self._weights(self.router(users))
        self._importance = weights.flatten(0, -2).mean(dim=0)
        return weights


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
        from recommenders.encoder.cross_attention import CrossAttention

        return CrossAttention(_two_views(features), n_warm, dim, init_std, options)
    if values.ndim == 2:
        return VectorContent(features, dim, init_std, options)
    if fusion.top:
        options = replace(options, top=fusion.top)
    if fusion.layers == "moe":
        return ExpertLayers(features, dim, init_std, options)
    if fusion.layers == "moe-user":
        return UserLayers(features, dim, init_std, options, user or dim)
    return MixedLayers(features, n_warm, dim, init_std, fusion, options)


def _two_views(features: ItemFeatures) -> ConcatenatedItems:
    if not isinstance(features, ConcatenatedItems) or len(features.parts) != 2:
        count = len(features.parts) if isinstance(features, ConcatenatedItems) else 1
        raise UserError(
            f"fusion 'cross-attention' takes two views of an item, and {features.space_id} holds {count}",
            remedy=TWO_VIEWS,
        )
    return features


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
        raise BenchError(f"{features.space_id} has {len(values)} rows for {n_items} items: align it first")
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise BenchError(f"{features.space_id}: the feature of item number {int(np.argmax(bad))} is not finite")
    return values
