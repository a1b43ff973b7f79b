"""Base class of the recommenders that know users by id and are trained on pairs of items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from protocols.errors import DataError
from recommenders.base import FitRequest
from recommenders.data.pairs import PairBatches
from recommenders.training.negatives import release_order
from recommenders.training.trained_model import Prepared, TrainedModel, tensors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PairModel(TrainedModel):
    """Users and items as vectors, trained on (user, item, negative item). A subclass is a network with its options.

    The network is a general model of RecBole with `vectors()`. The order of events is not used. A user without fitted
    events is shown what is popular.

    The options are those of `TrainedModel`; a batch is counted in events. Content learns more slowly than ids: a
    step on a projection moves all items, and at the rate of ids features without information take away a quarter of
    what ids alone reach.
    """

    lr: float = 5e-3
    content_lr: float = 0.1
    batch: int = 2048
    max_epochs: int = 100
    patience: int = 5

    def prepare(self, request: FitRequest) -> Prepared:
        """Make the untrained model, its item encoder and its batches.

        Raises
        ------
        DataError
            If there are no fitted events.
        """
        from recommenders.training.scorers import PairScorer

        data = request.data
        if not len(data.item):
            raise DataError("there are no events before the border: there is nothing to learn from")
        pairs = PairBatches(data, *release_order(data, self.negatives), self.batch, request.seed)
        model, encoder = self.built(request, {}, max_length=1)

        def batches(epoch: int) -> Iterator[dict[str, torch.Tensor]]:
            for batch in pairs.epoch(epoch):
                columns = {model.USER_ID: batch.user, model.ITEM_ID: batch.item, model.NEG_ITEM_ID: batch.negative}
                if model.age is not None:
                    pairs_of = ((model.AGE, batch.item), (model.NEG_AGE, batch.negative))
                    columns |= {name: batch.time - data.release[item - 1] for name, item in pairs_of}
                yield tensors(columns, request.device)

        return Prepared(model, encoder, batches, pairs.steps, partial(PairScorer, model, encoder, data))
