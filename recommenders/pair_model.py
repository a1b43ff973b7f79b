"""What the recommenders share that know users by id: options, pairwise training, scores by dot product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from protocols.errors import DataError
from protocols.problem import TrainingData
from recommenders.base import FitRequest, FitResult, Recommender, fit_key
from recommenders.options import check_device, expect
from recommenders.pairs import PairBatches
from recommenders.released import release_order

if TYPE_CHECKING:
    from torch import Tensor

    from recommenders.item_encoder import ItemEncoder


@dataclass(frozen=True)
class PairModel(Recommender):
    """Users and items as vectors, trained on (user, item, negative item). A subclass is a network with its options.

    The order of events is not used. A user without fitted events is shown what is popular.

    Attributes
    ----------
    dim
        Width of user and item vectors.
    lr, weight_decay
        Of AdamW.
    batch
        Events per step.
    max_epochs, patience
        Early stopping on validation nDCG@10.
    init_std, id_dropout, standardise, negatives, average
        As in `SequenceModel`.
    """

    dim: int = 64
    lr: float = 5e-3
    weight_decay: float = 0.1
    batch: int = 2048
    max_epochs: int = 100
    patience: int = 5
    init_std: float = 0.1
    id_dropout: float = 0.2
    standardise: Literal["whiten", "scale"] = "whiten"  # type: ignore[misc]  # an option here
    negatives: Literal["released", "warm"] = "released"
    average: float = 0.98

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
        from recommenders import training

        model, encoder, batches = self.prepare(request)
        epochs, curve = training.train(
            model,
            encoder,
            lambda epoch: self._on_device(batches.epoch(epoch), model, request.device),
            lambda: DotScorer(model, encoder, request.data),
            request,
            training.Plan(self.lr, self.weight_decay, self.max_epochs, self.patience, average=self.average),
            fit_key(self, request),
        )
        encoder.check_frozen(request.features)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return FitResult(DotScorer(model, encoder, request.data), epochs, count, curve)

    def prepare(self, request: FitRequest) -> tuple[Any, ItemEncoder, PairBatches]:
        """Make the untrained model, its item encoder and its batches."""
        from recommenders import recbole_adapter, training
        from recommenders.item_encoder import ItemEncoder

        self.check(request)
        data = request.data
        if not len(data.item):
            raise DataError("there are no events before the border: there is nothing to learn from")
        batches = PairBatches(data, *release_order(data, self.negatives), self.batch, request.seed)
        features = None if request.fusion == "id" else request.features
        network, options = self.network()
        with training.seeded(request.seed, 0, request.device):
            model = recbole_adapter.build(network, data, options, max_length=1, device=request.device)
            encoder = ItemEncoder(
                data.n_warm, len(data.items), self.dim, request.fusion, features, self.init_std, self.id_dropout
            )
        recbole_adapter.inject(model, encoder.to(request.device))
        return model, encoder, batches

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense.

        Raises
        ------
        UserError
            Naming the option and what was expected.
        """
        expect(self, ("dim", "lr", "batch", "max_epochs", "patience"), lambda value: value > 0, "a number above 0")
        expect(self, ("id_dropout", "average"), lambda value: 0 <= value < 1, "a number from 0 to below 1")
        check_device(request.device)

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

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.problem.Scorer`."""
        import torch

        rows = np.array([self.rows.get(user, 0) for user in users], dtype=np.int64)
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            user = self.users[torch.from_numpy(rows).to(self.users.device)]
            # two products, so that the bits of warm items do not depend on the number of cold ones
            scores[:, : self.split] = (user @ self.items[1 : self.split + 1].T).cpu().numpy()
            if self.scores_cold:
                scores[:, self.split :] = (user @ self.items[self.split + 1 :].T).cpu().numpy()
        scores[rows == 0, : self.split] = self.popularity
        scores[rows == 0, self.split :] = -np.inf
        return scores
