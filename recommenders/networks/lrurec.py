"""The network of LRURec as a RecBole sequential recommender, trained on whole sequences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recommenders.networks.whole_sequence import FastDropout, WholeSequence

#: Moduli of the eigenvalues at the start.
NEAREST, FURTHEST = 0.8, 0.99


class LinearRecurrentUnit(nn.Module):
    """Linear recurrence h_t = lambda * h_(t-1) + gamma * (B x_t + b), y_t = Re(C h_t) + c, with diagonal lambda.

    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", ICML 2023: the eigenvalues are
    exp(-exp(nu) + i exp(theta)), so that their modulus stays below one, and gamma = sqrt(1 - |lambda|^2).
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        modulus = torch.sqrt(torch.rand(width) * (FURTHEST**2 - NEAREST**2) + NEAREST**2)
        self.nu = nn.Parameter(torch.log(-torch.log(modulus)))
        self.theta = nn.Parameter(torch.log(torch.rand(width) * math.pi + 1e-3))
        self.enter, self.leave = nn.Linear(dim, 2 * width), nn.Linear(2 * width, dim)
        for layer in (self.enter, self.leave):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] to [B, L, d]: the sum over the past is doubled in length log2(L) times."""
        real, imaginary = self.enter(x).float().chunk(2, dim=2)
        decay, turn = -self.nu.exp(), self.theta.exp()
        gamma = torch.sqrt(1 - torch.exp(2 * decay))
        state = torch.complex(real * gamma, imaginary * gamma)
        step = 1
        while step < x.shape[1]:
            power = torch.polar(torch.exp(decay * step), turn * step)
            state = state + F.pad(state[:, :-step] * power, (0, 0, step, 0))
            step *= 2
        return self.leave(torch.cat([state.real, state.imag], dim=2).to(x.dtype))


class LRUBlock(nn.Module):
    """Linear recurrent unit and feed-forward layer, each added to its input, with layer norm after."""

    def __init__(self, dim: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.unit = LinearRecurrentUnit(dim, 2 * dim)
        self.up, self.down = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.norm_unit, self.norm_inner = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = FastDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] to [B, L, d]; position i sees positions 0 .. i."""
        x = self.norm_unit(x + self.dropout(self.unit(x)))
        return self.norm_inner(x + self.dropout(self.down(self.dropout(F.gelu(self.up(x))))))


class WholeSequenceLRURec(WholeSequence, SequentialRecommender):
    """LRURec (Yue et al., WSDM 2024) with a loss at every position of a sequence; the order is in the recurrence."""

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        dim = config["hidden_size"]
        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        self.blocks = nn.ModuleList(
            LRUBlock(dim, config["inner_size"], config["hidden_dropout_prob"]) for _ in range(config["n_layers"])
        )
        self.norm, self.dropout = nn.LayerNorm(dim), FastDropout(config["hidden_dropout_prob"])
        self.use(config)

    def states(self, item_seq: Tensor) -> Tensor:
        """Hidden states [B, L, d]."""
        x = self.norm(self.dropout(self.item_embedding(item_seq)))
        for block in self.blocks:
            x = block(x)
        return x
