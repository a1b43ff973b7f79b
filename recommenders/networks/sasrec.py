"""The network of SASRec as a RecBole sequential recommender, trained on whole sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recommenders.networks.whole_sequence import FastDropout, WholeSequence


class Block(nn.Module):
    """Self-attention (causal by default) and a feed-forward layer, each with layer norm before and dropout after.

    Weights start at the standard deviation 1/sqrt(fan in), several times RecBole's 0.02: the sum over a history is then
    of the size of the last item that it is added to, and what a user likes is learned from the first epoch on.
    """

    def __init__(self, dim: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_inner = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.dropout = FastDropout(dropout)
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """[B, L, d] to [B, L, d]; position i sees positions 0 .. i, or all that are `there` (bool [B, L])."""
        q, k, v = self._heads(self.qkv(self.norm_attention(x)), 3)
        mask = None if there is None else there[:, None, None]
        return self._finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=there is None))

    def at(self, x: Tensor, last: Tensor) -> Tensor:
        """Output [B, 1, d] at position `last` [B] of each row alone: what scoring needs of the topmost block."""
        normed, dim = self.norm_attention(x), x.shape[2]
        rows = torch.arange(len(x), device=x.device)
        (q,) = self._heads(F.linear(normed[rows, last, None], self.qkv.weight[:dim], self.qkv.bias[:dim]), 1)
        k, v = self._heads(F.linear(normed, self.qkv.weight[dim:], self.qkv.bias[dim:]), 2)
        seen = torch.arange(x.shape[1], device=x.device) <= last[:, None]
        return self._finish(x[rows, last, None], F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None]))

    def _heads(self, x: Tensor, parts: int) -> Tensor:
        """[B, L, parts * d] to [parts, B, heads, L, d / heads]."""
        return x.view(x.shape[0], x.shape[1], parts, self.heads, -1).permute(2, 0, 3, 1, 4)

    def _finish(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(x.shape)))
        return x + self.dropout(self.down(F.relu(self.up(self.norm_inner(x)))))


class WholeSequenceSASRec(WholeSequence, SequentialRecommender):
    """SASRec (Kang and McAuley, ICDM 2018) with a loss at every position of a sequence.

    What differs from RecBole's own SASRec: one row a sequence instead of one a prefix, with the loss at all positions
    (as in the paper); item vectors times sqrt(d) instead of a layer norm on the input (as in the paper); layer norm
    before each sub-layer and after the last; a feed-forward layer of width d with ReLU (as in the paper) unless asked
    otherwise; attention fused, without dropout on its weights; larger initial weights; right padding, for which a
    causal mask is enough; the losses of `WholeSequence`.
    """

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        dim = config["hidden_size"]
        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        self.position_embedding = nn.Parameter(torch.randn(self.max_seq_length, dim) * 0.1)
        self.blocks = nn.ModuleList(self.block(config) for _ in range(config["n_layers"]))
        self.norm = nn.LayerNorm(dim)
        self.dropout = FastDropout(config["hidden_dropout_prob"])
        self.use(config)

    def block(self, config: Mapping[str, Any]) -> Block:
        """Make one block."""
        return Block(config["hidden_size"], config["n_heads"], config["inner_size"], config["hidden_dropout_prob"])

    def _embed(self, item_seq: Tensor) -> Tensor:
        x = self.item_embedding(item_seq) * self.position_embedding.shape[1] ** 0.5
        return self.dropout(x + self.position_embedding[: item_seq.shape[1]])

    def states(self, item_seq: Tensor) -> Tensor:
        """Hidden states [B, L, d] of all positions; those of padding mean nothing."""
        x = self._embed(item_seq)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """User vectors [B, d]: the state of the last item, without computing the others' in the topmost block."""
        x = self._embed(item_seq)
        *lower, top = self.blocks
        assert isinstance(top, Block)
        for block in lower:
            x = block(x)
        return self.norm(top.at(x, item_seq_len - 1)).squeeze(1)
