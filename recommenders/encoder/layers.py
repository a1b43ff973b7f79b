"""Content vectors from features of several layers: DFF's mixture of layers, and experts after LinkedOut."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from protocols.errors import UserError
from protocols.features import ItemFeatures, row_slices, whitening
from protocols.wording import counted
from recommenders.encoder.fusions import Fusion
from recommenders.encoder.projection import Content, ContentOptions, projected, projection


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
    The gain of LN starts at init_std * sqrt(L): v starts about as large as an id vector (or at zero, see
    `ContentOptions`).
    """

    layer_scale: Tensor

    def __init__(self, features: ItemFeatures, dim: int, init_std: float, options: ContentOptions) -> None:
        super().__init__(features)
        assert features.layer_scale is not None
        count, _, width = features.values.shape[1:]
        if not 0 <= options.top <= count:
            raise UserError(f"layers_top={options.top}: the features have {counted(count, 'layer')}; 0 keeps them all")
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
        nn.init.constant_(self.norm.weight, 0.0 if options.from_zero else self.gain)
        self.router = nn.Linear(count * dim, count)
        nn.init.normal_(self.router.weight, std=(count * dim) ** -0.5)
        nn.init.zeros_(self.router.bias)
        self._importance: Tensor | None = None

    def compressed(self, rows: slice | Tensor) -> Tensor:
        """Outputs of the experts, [N, L, d]."""
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
