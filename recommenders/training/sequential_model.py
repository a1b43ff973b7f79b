"""Base class of the recommenders that are trained on whole sequences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from protocols.errors import DataError
from recommenders.base import FitRequest, Range
from recommenders.data.sequences import SequenceBatches
from recommenders.training.negatives import release_order
from recommenders.training.options import expect
from recommenders.training.trained_model import Prepared, TrainedModel, tensors

if TYPE_CHECKING:
    import torch

    from protocols.ranking_problem import TrainingData


#: Most items of a softmax over all of them, unless an option says otherwise; targets a step of the loss beyond.
SOFTMAX_ITEMS, LARGE_BATCH = 50_000, 4096


@dataclass(frozen=True)
class SequenceModel(TrainedModel):
    """Next-item prediction at every position of a sequence. A subclass is a network (`WholeSequence`) with its options.

    The other options are those of `TrainedModel`.

    Attributes
    ----------
    dropout
        Rate; the network decides on what.
    max_length
        Longest history the model sees; longer ones keep their newest items.
    loss
        `softmax` over all candidate negatives of a target, in a catalogue of at most `softmax_items`; `sampled`: over
        `loss_negatives` of them drawn for each step; `in-batch`: over the other targets of the batch, corrected by
        their log-popularity; `in-batch-plain`: without the correction; `bce`: binary cross-entropy against one of them.
    loss_negatives
        Items drawn for `sampled`.
    softmax_items
        Where more warm items than these are fitted on, `softmax` becomes `in-batch` with at least `LARGE_BATCH` targets
        a step, of which the negatives are drawn; the record holds what was chosen.
    """

    later_options: ClassVar[tuple[str, ...]] = ("softmax_items",)
    user_layers: ClassVar[bool] = True
    space: ClassVar[Mapping[str, Range]] = {**TrainedModel.space, "dropout": Range(0.0, 0.6)}

    dropout: float = 0.4
    max_length: int = 50
    loss: Literal["softmax", "sampled", "in-batch", "in-batch-plain", "bce"] = "softmax"
    loss_negatives: int = 128
    softmax_items: int = SOFTMAX_ITEMS

    def for_catalogue(self, items: int) -> Self:
        """Choose the loss by the number of warm items, see `softmax_items`."""
        if self.loss != "softmax" or items <= self.softmax_items:
            return self
        return replace(self, loss="in-batch", batch=max(self.batch, LARGE_BATCH))

    def prepare(self, request: FitRequest) -> Prepared:
        """Make the untrained model, its item encoder and its batches.

        Raises
        ------
        DataError
            If no user has two fitted events: there is nothing to predict.
        """
        from recommenders.training.scorers import SequenceScorer

        data = request.data
        order, releases = release_order(data, self.negatives)
        times = data.by_user(data.timestamp)
        sequences = SequenceBatches(data.sequences, self.max_length, self.batch, request.seed, times)
        if not sequences.targets:
            raise DataError("no user has two events before the border: a sequence model has nothing to learn from")
        released = {"release_order": order + 1, "releases": releases}
        model, encoder = self.built(request, {**self._objective(data), **released}, self.max_length)
        # a step sees few of many items: making all vectors would cost more than all else
        encoder.by_rows |= self.loss != "softmax" and data.n_warm > SOFTMAX_ITEMS

        def batches(epoch: int) -> Iterator[dict[str, torch.Tensor]]:
            names = model.ITEM_SEQ, model.POS_ITEM_ID, model.TIME
            for batch in sequences.epoch(epoch):
                columns = (batch.inputs, batch.targets, batch.notes)
                yield tensors(dict(zip(names, columns, strict=True)), request.device)

        return Prepared(model, encoder, batches, sequences.steps, partial(SequenceScorer, model, encoder))

    def _objective(self, data: TrainingData) -> dict[str, Any]:
        popularity = None
        if self.loss == "in-batch":
            counts = data.counts[: data.n_warm]
            popularity = np.log(counts / counts.sum()).astype(np.float32)
        return {"loss": self.loss, "loss_negatives": self.loss_negatives, "log_popularity": popularity}

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense.

        Raises
        ------
        UserError
            Naming the option and what was expected.
        """
        expect(self, ("max_length", "loss_negatives", "softmax_items"), lambda value: value > 0, "a number above 0")
        expect(self, ("dropout",), lambda value: 0 <= value < 1, "a number from 0 to below 1")
        super().check(request)
