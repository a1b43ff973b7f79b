"""Content vectors by cross-attention between two views of an item, with a loss that aligns the views."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from protocols.concatenated import ConcatenatedItems
from protocols.errors import UserError
from protocols.features import ItemFeatures
from recommenders.encoder.projection import Content, ContentOptions, projected, projection

#: Into how many pieces a view is cut.
TOKENS = 4
#: Weight of the alignment loss, and the temperature of its softmax.
WEIGHT, TEMPERATURE = 0.1, 0.1
#: Most items that a step aligns.
ALIGNED = 512


class View(nn.Module):
    """P z / sqrt(K) of one part of joined features; as in `VectorContent`."""

    transform: Tensor | None

    def __init__(self, part: ItemFeatures, columns: slice, dim: int, init_std: float, options: ContentOptions) -> None:
        super().__init__()
        matrix = part.transform
        self.columns, self.scale = columns, float(part.scale)
        self.register_buffer("transform", None if matrix is None else torch.tensor(matrix), persistent=False)
        self.projection = projection(part.width, dim, init_std, options)

    def forward(self, centred: Tensor) -> Tensor:
        """Project the columns of the view, [N, d]."""
        return projected(self.projection, centred[:, self.columns], self.transform, self.scale)


class CrossAttention(Content):
    """v = (q + softmax(norm(q) norm(f)^T sqrt(w)) f) / sqrt(2), q the coarse view of an item and f the fine one.

    After DMESR (arXiv 2602.13715), whose code is not published: a description by a language model is coarse, the
    words that come with the item are fine, coarse asks and fine is key and value. Of a joined extractor
    (`concat:captions+titles`) the first part is coarse. What follows is ours. One vector a view would leave nothing to
    attend to, the softmax over a single key is 1: each projected view is cut into `TOKENS` tokens of width w. Tokens
    are compared by direction (norm: length one), because vectors start so small that their products would tell nothing
    apart; and q is added, so that what is coarse is in v and not in its weights alone.

    A training step adds `WEIGHT` times InfoNCE between the views of up to `ALIGNED` warm items that have both, drawn
    anew: whose description is whose text, and the other way round, by the cosines of q and f over `TEMPERATURE`.
    """

    pairs: Tensor

    def __init__(
        self, features: ConcatenatedItems, n_warm: int, dim: int, init_std: float, options: ContentOptions
    ) -> None:
        super().__init__(features)
        if dim % TOKENS:
            raise UserError(f"fusion 'cross-attention' cuts vectors into {TOKENS} tokens: {dim} is no multiple of it")
        views = zip(features.parts, features.columns, strict=True)
        self.coarse, self.fine = (View(part, columns, dim, init_std, options) for part, columns in views)
        both = np.flatnonzero(np.all([part.present[:n_warm] for part in features.parts], axis=0))
        self.register_buffer("pairs", torch.from_numpy(both), persistent=False)

    def views(self, rows: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Coarse and fine view of some items, [N, d] each."""
        centred = self.features[rows].float() - self.mean
        return self.coarse(centred), self.fine(centred)

    def forward(self, rows: slice | Tensor) -> Tensor:
        """Vectors of some items."""
        q, f = (view.unflatten(1, (TOKENS, -1)) for view in self.views(rows))
        return (q + self.attention(q, f) @ f).flatten(1) / 2**0.5

    @staticmethod
    def attention(q: Tensor, f: Tensor) -> Tensor:
        """Weights of the fine tokens for each coarse one, [N, T, T], for tokens [N, T, w]."""
        alike = nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(f, dim=-1).mT
        return (alike * q.shape[-1] ** 0.5).softmax(dim=-1)

    def alignment(self, rows: Tensor) -> Tensor:
        """InfoNCE between the views of some items, mean of both directions."""
        q, f = (nn.functional.normalize(view, dim=-1) for view in self.views(rows))
        logits = q @ f.T / TEMPERATURE
        own = torch.arange(len(rows), device=logits.device)
        return (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2

    def penalty(self) -> Tensor | None:
        """The alignment loss of a training step; None in evaluation mode, and where it would be of one item."""
        if not self.training or len(self.pairs) < 2:
            return None
        drawn = torch.randperm(len(self.pairs))[:ALIGNED].to(self.pairs.device)
        return WEIGHT * self.alignment(self.pairs[drawn])
