"""RecBole's general networks with `vectors()`: users and items of which all scores are dot products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recommenders.recbole import compat
from recommenders.training.age import AgeTerm

compat.apply()

from recbole.model.general_recommender.bpr import BPR  # noqa: E402  # after the patches it needs
from recbole.model.general_recommender.lightgcn import LightGCN  # noqa: E402


class Aged:
    """Mix-in before a model trained on pairs: the scores of both items have a term by age, where there is one."""

    AGE, NEG_AGE = "age", "negative_age"
    USER_ID: str
    ITEM_ID: str
    NEG_ITEM_ID: str
    age: AgeTerm | None

    def pair(self, interaction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scores [B] of the items taken and of those drawn, without ages."""
        raise NotImplementedError

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Mean BPR loss of the pairs."""
        taken, drawn = self.pair(interaction)
        if self.age is not None:
            taken, drawn = taken + self.age(interaction[self.AGE]), drawn + self.age(interaction[self.NEG_AGE])
        return -F.logsigmoid(taken - drawn).mean()


class FactorsBPR(Aged, BPR):
    """RecBole's BPR."""

    def pair(self, interaction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scores of both items."""
        user, taken = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        drawn = self.get_item_embedding(interaction[self.NEG_ITEM_ID])
        return (user * taken).sum(dim=1), (user * drawn).sum(dim=1)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """User vectors [1 + users, d] and item vectors [1 + items, d]."""
        return self.user_embedding.weight, self.item_embedding.weight


class FactorsVBPR(FactorsBPR):
    """RecBole's BPR with a vector that all users share: the bias of an item as a function of its vector."""

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        self.shared = nn.Parameter(torch.zeros(config["embedding_size"]))

    def get_user_embedding(self, user: Tensor) -> Tensor:
        """Vectors of users [B], [B, d]."""
        return self.user_embedding(user) + self.shared

    def vectors(self) -> tuple[Tensor, Tensor]:
        """User vectors [1 + users, d] and item vectors [1 + items, d]."""
        return self.user_embedding.weight + self.shared, self.item_embedding.weight


class FactorsLightGCN(Aged, LightGCN):
    """RecBole's LightGCN, for items beside those of its graph too."""

    def get_norm_adj_mat(self) -> Tensor:
        """The normalised graph of users and warm items, symmetric, in compressed rows."""
        return super().get_norm_adj_mat().coalesce().to_sparse_csr()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and of warm items: the mean over the steps."""
        steps = [self.get_ego_embeddings()]
        for _ in range(self.n_layers):
            steps.append(_Step.apply(self.norm_adj_matrix, steps[-1]))
        users, items = torch.stack(steps).mean(dim=0).split([self.n_users, self.n_items])
        return users, items

    def get_ego_embeddings(self) -> Tensor:
        """Vectors of users and warm items before the first step over the graph."""
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight[: self.n_items]])

    def pair(self, interaction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scores of both items."""
        users, items = self.forward()
        user = users[interaction[self.USER_ID]]
        taken, drawn = (items[interaction[name]] for name in (self.ITEM_ID, self.NEG_ITEM_ID))
        return (user * taken).sum(dim=1), (user * drawn).sum(dim=1)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """User vectors [1 + users, d] and item vectors [1 + items, d]."""
        users, warm = self.forward()
        # the mean over layers of a node without edges: itself at layer 0, zero at all others
        cold = self.item_embedding.weight[self.n_items :] / (self.n_layers + 1)
        return users, torch.cat([warm, cold])


class _Step(torch.autograd.Function):
    """One step over a symmetric graph: its gradient is a step too, and no transposed graph is made for it."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, vectors: Tensor) -> Tensor:
        ctx.graph = graph
        return graph @ vectors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.graph @ gradients[0]
