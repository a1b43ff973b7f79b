"""LiGR blocks in the network of SASRec: each sub-layer is let in by a gate of what it is added to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from recommenders.networks.sasrec import Block, WholeSequenceSASRec


class LiGRBlock(Block):
    """Block whose residual sums are x + sigmoid(W x + b) * f(norm(x)), with a SwiGLU as feed-forward layer.

    Borisyuk et al., "From Features to Transformers" (arXiv 2502.03417), in the form of eSASRec. The SwiGLU is
    W3 (silu(W1 y) * W2 y), its layers without bias.
    """

    def __init__(self, dim: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(dim, heads, inner, dropout)
        self.up, self.side = nn.Linear(dim, inner, bias=False), nn.Linear(dim, inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)
        self.gate_attention, self.gate_inner = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for layer in (self.up, self.side, self.down, self.gate_attention, self.gate_inner):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        for gate in (self.gate_attention, self.gate_inner):
            nn.init.zeros_(gate.bias)

    def _finish(self, x: Tensor, seen: Tensor) -> Tensor:
        found = self.dropout(self.out(seen.transpose(1, 2).reshape(x.shape)))
        x = x + self.gate_attention(x).sigmoid() * found
        y = self.norm_inner(x)
        found = self.dropout(self.down(self.dropout(F.silu(self.up(y)) * self.side(y))))
        return x + self.gate_inner(x).sigmoid() * found


class WholeSequenceESASRec(WholeSequenceSASRec):
    """eSASRec (Tikhonovich et al., RecSys 2025): SASRec with LiGR blocks; the loss is an option of the model."""

    def block(self, config: Mapping[str, Any]) -> Block:
        """Make one block."""
        return LiGRBlock(config["hidden_size"], config["n_heads"], config["inner_size"], config["hidden_dropout_prob"])
