"""The network of HSTU as a RecBole sequential recommender, trained on whole sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recommenders.networks.whole_sequence import FastDropout, WholeSequence


class STU(nn.Module):
    """Sequential transduction unit: x + W_o (u * norm(A v)), with A_ij = silu(q_i . k_j + b_(i-j)) / n for j <= i.

    u, v, q, k are parts of silu(W norm(x)), and the norms have no parameters. There is no softmax: the weights of a
    history do not sum to one, so that their size tells how much of it there is. n is the longest length, whatever the
    length of a row, so that padding changes nothing.
    """

    def __init__(self, dim: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.uvqk, self.out = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(dim, dim)
        #: By distance, of all heads alike.
        self.bias = nn.Parameter(torch.randn(length) * 0.02)
        self.dropout = FastDropout(dropout)
        nn.init.normal_(self.uvqk.weight, std=dim**-0.5)
        nn.init.normal_(self.out.weight, std=dim**-0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] to [B, L, d]; position i sees positions 0 .. i."""
        dim = x.shape[2:]
        u, v, q, k = F.silu(self.uvqk(F.layer_norm(x, dim))).chunk(4, dim=2)
        v, q, k = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (v, q, k))
        at = torch.arange(x.shape[1], device=x.device)
        distance = at[:, None] - at
        weights = F.silu(q @ k.transpose(2, 3) + self.bias[distance.clamp(min=0)]) / self.length
        seen = (weights * (distance >= 0)) @ v
        return x + self.out(self.dropout(u * F.layer_norm(seen.transpose(1, 2).flatten(2), dim)))


class WholeSequenceHSTU(WholeSequence, SequentialRecommender):
    """HSTU (Zhai et al., ICML 2024) with a loss at every position of a sequence.

    Relative positions are in every unit, times are not: the bias by time of the paper looks at when the next item is
    asked for, which a list made ahead of its window does not know. Item vectors come in times sqrt(d), with learned
    positions, as in the authors' experiments.
    """

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        dim = config["hidden_size"]
        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        self.position_embedding = nn.Parameter(torch.randn(self.max_seq_length, dim) * 0.1)
        self.units = nn.ModuleList(
            STU(dim, config["n_heads"], config["hidden_dropout_prob"], self.max_seq_length)
            for _ in range(config["n_layers"])
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = FastDropout(config["hidden_dropout_prob"])
        self.use(config)

    def states(self, item_seq: Tensor) -> Tensor:
        """Hidden states [B, L, d]."""
        x = self.item_embedding(item_seq) * self.position_embedding.shape[1] ** 0.5
        x = self.dropout(x + self.position_embedding[: item_seq.shape[1]])
        for unit in self.units:
            x = unit(x)
        return self.norm(x)
