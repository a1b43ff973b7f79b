"""What the recommenders share that know users by id: options, pairwise training, scores by dot product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.errors import DataError
from protocols.ranking_problem import TrainingData
from recommenders.base import FitRequest, FitResult, fit_key
from recommenders.data.pairs import PairBatches
from recommenders.training.negatives import release_order
from recommenders.training.trained_model import TrainedModel

if TYPE_CHECKING:
    from torch import Tensor

    from recommenders.encoder.item_encoder import ItemEncoder


@dataclass(frozen=True)
class PairModel(TrainedModel):
    """Users and items as vectors, trained on (user, item, negative item). A subclass is a network with its options.

    The order of events is not used. A user without fitted events is shown what is popular.

    The options are those of `TrainedModel`; a batch is counted in events.
    """

    lr: float = 5e-3
    batch: int = 2048
    max_epochs: int = 100
    patience: int = 5

    def network(self) -> tuple[type, dict[str, Any]]:
        """Class of the network (a general RecBole model with `vectors()`) and its options under RecBole's names."""
        raise NotImplementedError

    def fit(self, request: FitRequest) -> FitResult:
        """Train until validation stops improving, or for `request.epochs`.

        Raises
        ------
        DataError
            If there are no fitted events.
        UserError
            If an option makes no sense, or the fusion needs features and there are none.
        BenchError
            If training diverges.
        """
        from recommenders.training import loop

        model, encoder, batches = self.prepare(request)
        epochs, curve = loop.train(
            model,
            encoder,
            lambda epoch: self._on_device(batches.epoch(epoch), model, request.device),
            lambda: DotScorer(model, encoder, request.data),
            request,
            self.plan(),
            fit_key(self, request),
        )
        encoder.check_frozen(request.features)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        rescore = partial(DotScorer, model, encoder, request.data)
        return FitResult(rescore(), epochs, count, curve, encoder.layer_weights(), encoder, rescore)

    def prepare(self, request: FitRequest) -> tuple[Any, ItemEncoder, PairBatches]:
        """Make the untrained model, its item encoder and its batches."""
        from recommenders.recbole import adapter
        from recommenders.training import loop

        self.check(request)
        data = request.data
        if not len(data.item):
            raise DataError("there are no events before the border: there is nothing to learn from")
        batches = PairBatches(data, *release_order(data, self.negatives), self.batch, request.seed)
        network, options = self.network()
        with loop.seeded(request.seed, 0, request.device):
            model = adapter.build(network, data, options, max_length=1, device=request.device)
            encoder = self.encoder(request)
        adapter.inject(model, encoder.to(request.device))
        return model, encoder, batches

    @staticmethod
    def _on_device(batches: Iterator[Any], model: Any, device: str) -> Iterator[dict[str, Tensor]]:
        import torch

        for batch in batches:
            columns = {model.USER_ID: batch.user, model.ITEM_ID: batch.item, model.NEG_ITEM_ID: batch.negative}
            yield {name: torch.from_numpy(column).to(device) for name, column in columns.items()}


class DotScorer:
    """Scores of a fitted model: user vectors times item vectors, both computed once.

    Users without fitted events get the logarithm of each warm item's count instead.
    """

    def __init__(self, model: Any, encoder: ItemEncoder, data: TrainingData) -> None:
        import torch

        self.rows = {user: row for row, user in enumerate(data.users, 1)}
        self.split, self.n_items = data.n_warm, len(data.items)
        self.scores_cold = encoder.scores_cold and self.n_items > self.split
        self.popularity = np.log1p(data.counts[: data.n_warm]).astype(np.float32)
        with torch.inference_mode():
            self.users, self.items = model.eval().vectors()

    def user_vectors(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> Tensor:
        """Vectors [B, d] whose products with `item_vectors` are the scores; of padding for users never fitted."""
        import torch

        rows = np.array([self.rows.get(user, 0) for user in users], dtype=np.int64)
        with torch.inference_mode():
            return self.users[torch.from_numpy(rows).to(self.users.device)]

    def item_vectors(self) -> Tensor:
        """Vectors [M, d] of all items of the problem, or of the warm ones where nothing is known of cold ones."""
        return self.items[1:] if self.scores_cold else self.items[1 : self.split + 1]

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        import torch

        unknown = np.array([user not in self.rows for user in users], dtype=bool)
        user, items = self.user_vectors(users, histories), self.item_vectors()
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            # two products, so that the bits of warm items do not depend on the number of cold ones
            scores[:, : self.split] = (user @ items[: self.split].T).cpu().numpy()
            if len(items) > self.split:
                scores[:, self.split :] = (user @ items[self.split :].T).cpu().numpy()
        scores[unknown, : self.split] = self.popularity
        scores[unknown, self.split :] = -np.inf
        return scores
