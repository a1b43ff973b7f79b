"""The network of BERT4Rec as a RecBole sequential recommender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recommenders.networks.sasrec import Block
from recommenders.networks.whole_sequence import FastDropout, WholeSequence


class MaskedBERT4Rec(WholeSequence, SequentialRecommender):
    """SASRec's blocks without the causal mask; hidden items are one learned vector, and the table is the output.

    RecBole's own class gives the mask a row of the item table, which an item encoder has no feature for.
    """

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        dim = config["hidden_size"]
        self.item_embedding = nn.Embedding(self.n_items, dim, padding_idx=0)
        self.hidden_item = nn.Parameter(torch.randn(dim))
        self.position_embedding = nn.Parameter(torch.randn(self.max_seq_length + 1, dim) * 0.1)
        self.blocks = nn.ModuleList(
            Block(dim, config["n_heads"], config["inner_size"], config["hidden_dropout_prob"])
            for _ in range(config["n_layers"])
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = FastDropout(config["hidden_dropout_prob"])
        self.mask_ratio = config["mask_ratio"]
        self.use(config)

    def around(self, items: Tensor, hidden: Tensor) -> Tensor:
        """States [B, L, d] of items [B, L], 0 for padding, of which some (bool [B, L]) are not shown."""
        x = self.item_embedding(items) * self.position_embedding.shape[1] ** 0.5
        x = torch.where(hidden[..., None], self.hidden_item, x)
        x = self.dropout(x + self.position_embedding[: items.shape[1]])
        there = (items > 0) | hidden
        for block in self.blocks:
            x = block(x, there)
        return self.norm(x)

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of the hidden items; the first item of a sequence is never hidden."""
        inputs, targets = interaction[self.ITEM_SEQ], interaction[self.POS_ITEM_ID]
        items = torch.cat([inputs[:, :1], targets], dim=1)
        hidden = torch.rand(targets.shape, device=targets.device) < self.mask_ratio
        last = (targets > 0).sum(dim=1, keepdim=True) - 1
        # scoring asks for the item behind the last known one: it is masked in every other sequence
        hidden = hidden.scatter(1, last, torch.rand(last.shape, device=targets.device) < 0.5) & (targets > 0)
        states = self.around(items, F.pad(hidden, (1, 0)))
        return self.objective(states[:, 1:], targets * hidden, interaction)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """User vectors [B, d]: the state of a hidden item behind the last one."""
        items = F.pad(item_seq, (0, 1))
        # a history of nothing is one slot of padding: what follows stands at its place
        at = (items > 0).sum(dim=1)
        hidden = torch.arange(items.shape[1], device=items.device) == at[:, None]
        return self.around(items, hidden)[torch.arange(len(items), device=items.device), at]
