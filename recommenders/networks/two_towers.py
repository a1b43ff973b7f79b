"""The network of two towers as a RecBole sequential recommender, with a user vector at every position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recommenders.networks.whole_sequence import FastDropout, WholeSequence


class WholeSequenceTwoTowers(WholeSequence, SequentialRecommender):
    """User vector at position i: a pool of the items up to it, through a hidden layer with a residual connection."""

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        dim, hidden = config["embedding_size"], config["hidden_size"]
        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        self.attention = nn.Linear(dim, 1) if config["pooling"] == "attention" else None
        self.tower = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.dropout = FastDropout(config["dropout_prob"])
        self.use(config)

    def states(self, item_seq: Tensor) -> Tensor:
        """User vectors [B, L, d]."""
        x = self.item_embedding(item_seq) * self.item_embedding.embedding_dim**0.5
        length = item_seq.shape[1]
        past = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        if self.attention is None:
            weight = past / past.sum(dim=1, keepdim=True)
        else:
            scores = self.attention(torch.tanh(x)).transpose(1, 2)  # [B, 1, L]
            weight = scores.expand(-1, length, -1).masked_fill(~past, -torch.inf).softmax(dim=2)
        pooled = self.dropout(weight @ x)
        return pooled + self.tower(pooled)
