"""Scorers of trained models: products of user vectors and item vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from protocols.ranking_problem import TrainingData
from recommenders.data.sequences import pad_histories
from recommenders.data.users import FittedUsers
from recommenders.encoder.item_encoder import ItemEncoder


class DotProductScorer(ABC):
    """Scores of a fitted model whose item vectors are computed once for all users.

    A term by age is one more coordinate of the item vectors; that of every user vector is one.
    """

    def __init__(self, model: Any, encoder: ItemEncoder) -> None:
        self.encoder, self.n_warm, self.n_items = encoder, encoder.n_warm, encoder.n_items
        age = getattr(model, "age", None)
        self.ages: Tensor | None = None if age is None else age.window()

    def with_ones(self, users: Tensor) -> Tensor:
        """User vectors [B, d] with the coordinate of the ages, where there are any."""
        return users if self.ages is None else F.pad(users, (0, 1), value=1.0)

    def with_ages(self, items: Tensor) -> Tensor:
        """Item vectors [M, d] with the coordinate of the ages, where there are any."""
        return items if self.ages is None else torch.cat([items, self.ages[: len(items), None]], dim=1)

    @abstractmethod
    def user_vectors(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> Tensor:
        """Vectors [B, W] whose products with `item_vectors` are the scores."""

    @abstractmethod
    def item_vectors(self) -> Tensor:
        """Vectors [M, W] of all items of the problem, or of the warm ones where nothing is known of cold ones."""

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        user, items = self.user_vectors(users, histories), self.item_vectors()
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            # two products, so that the bits of warm items do not depend on the number of cold ones
            scores[:, : self.n_warm] = (user @ items[: self.n_warm].T).cpu().numpy()
            if len(items) > self.n_warm:
                scores[:, self.n_warm :] = (user @ items[self.n_warm :].T).cpu().numpy()
        return scores


class SequenceScorer(DotProductScorer):
    """Scorer of a model that reads the history."""

    def __init__(self, model: Any, encoder: ItemEncoder) -> None:
        super().__init__(model, encoder)
        self.model = model.eval()
        encoder.hold_table()

    def user_vectors(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> Tensor:
        """Vectors [B, W] whose products with `item_vectors` are the scores."""
        ids, length = pad_histories(histories, self.model.max_seq_length)
        with torch.inference_mode():
            device = next(self.model.parameters()).device
            user = self.model(torch.from_numpy(ids).to(device), torch.from_numpy(length).to(device))
            return self.with_ones(self.encoder.scoring_users(user))

    def item_vectors(self) -> Tensor:
        """Vectors [M, W] of all items of the problem, or of the warm ones where nothing is known of cold ones."""
        with torch.inference_mode():
            return self.with_ages(self.encoder.item_vectors())


class PairScorer(DotProductScorer):
    """Scorer of a model that knows users by id; its user vectors are computed once, too.

    Users without fitted events get the logarithm of each warm item's count instead.
    """

    def __init__(self, model: Any, encoder: ItemEncoder, data: TrainingData) -> None:
        super().__init__(model, encoder)
        self.fitted = FittedUsers(data)
        with torch.inference_mode():
            self.users, self.items = model.eval().vectors()

    def user_vectors(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> Tensor:
        """Vectors [B, d] whose products with `item_vectors` are the scores; of padding for users never fitted."""
        with torch.inference_mode():
            return self.with_ones(self.users[torch.from_numpy(self.fitted.rows(users)).to(self.users.device)])

    def item_vectors(self) -> Tensor:
        """Vectors [M, d] of all items of the problem, or of the warm ones where nothing is known of cold ones."""
        return self.with_ages(self.items[1:] if self.encoder.scores_cold else self.items[1 : self.n_warm + 1])

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        scores = super().score(users, histories)
        self.fitted.fill(scores, self.fitted.rows(users))
        return scores
