"""What the recommenders share that are trained on whole sequences: options, batches, training, scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from protocols.errors import DataError
from recommenders.base import FitRequest, FitResult, Range, fit_key
from recommenders.data.sequences import SequenceBatches, pad_histories
from recommenders.training.negatives import release_order
from recommenders.training.options import expect
from recommenders.training.trained_model import TrainedModel

if TYPE_CHECKING:
    import torch

    from protocols.ranking_problem import TrainingData
    from recommenders.encoder.item_encoder import ItemEncoder

    Batches = Callable[[int], Iterable[dict[str, torch.Tensor]]]


@dataclass(frozen=True)
class SequenceModel(TrainedModel):
    """Next-item prediction at every position of a sequence. A subclass is a network with its options.

    The other options are those of `TrainedModel`.

    Attributes
    ----------
    dropout
        Where it is applied is the network's matter.
    max_length
        Longest history the model sees; longer ones keep their newest items.
    loss
        `softmax` over all items that a target is set against; `sampled`: over `loss_negatives` of them drawn for each
        step; `in-batch`: over the other targets of the batch, corrected by their log-popularity; `in-batch-plain`:
        without the correction; `bce`: binary cross-entropy against one of them.
    loss_negatives
        Items drawn for `sampled`.
    """

    user_layers: ClassVar[bool] = True
    space: ClassVar[Mapping[str, Range]] = {**TrainedModel.space, "dropout": Range(0.0, 0.6)}

    dropout: float = 0.2
    max_length: int = 50
    loss: Literal["softmax", "sampled", "in-batch", "in-batch-plain", "bce"] = "softmax"
    loss_negatives: int = 128

    def network(self) -> tuple[type, dict[str, Any]]:
        """Class of the network (see `WholeSequence`) and its options under RecBole's names."""
        raise NotImplementedError

    def fit(self, request: FitRequest) -> FitResult:
        """Train until validation stops improving, or for `request.epochs`.

        Raises
        ------
        DataError
            If no user has two fitted events: there is nothing to predict.
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
            batches,
            lambda: SequenceScorer(model, encoder),
            request,
            self.plan(),
            fit_key(self, request),
        )
        encoder.check_frozen(request.features)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        rescore = partial(SequenceScorer, model, encoder)
        return FitResult(rescore(), epochs, count, curve, encoder.layer_weights(), encoder, rescore)

    def prepare(self, request: FitRequest) -> tuple[Any, ItemEncoder, Batches]:
        """Make the untrained model, its item encoder, and the function from an epoch's number to its batches."""
        import torch

        from recommenders.recbole import adapter
        from recommenders.training import loop

        self.check(request)
        data, device = request.data, request.device
        order, out = release_order(data, self.negatives)
        sequences = SequenceBatches(data.sequences, self.max_length, self.batch, request.seed, data.by_user(out))
        if not sequences.targets:
            raise DataError("no user has two events before the border: a sequence model has nothing to learn from")
        network, own = self.network()
        with loop.seeded(request.seed, 0, device):
            options = {**own, **self._objective(data), "release_order": order + 1}
            model = adapter.build(network, data, options, max_length=self.max_length, device=device)
            encoder = self.encoder(request)
        adapter.inject(model, encoder.to(device))

        def batches(epoch: int) -> Iterator[dict[str, torch.Tensor]]:
            for batch in sequences.epoch(epoch):
                yield {
                    model.ITEM_SEQ: torch.from_numpy(batch.inputs).to(device),
                    model.POS_ITEM_ID: torch.from_numpy(batch.targets).to(device),
                    model.OUT: torch.from_numpy(batch.notes).to(device),
                }

        return model, encoder, batches

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
        expect(self, ("max_length", "loss_negatives"), lambda value: value > 0, "a number above 0")
        expect(self, ("dropout",), lambda value: 0 <= value < 1, "a number from 0 to below 1")
        super().check(request)


class SequenceScorer:
    """Scores of a fitted model: user vector times item table, computed once for all users."""

    def __init__(self, model: Any, encoder: ItemEncoder) -> None:
        self.model, self.encoder = model.eval(), encoder
        encoder.hold_table()

    def user_vectors(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> torch.Tensor:
        """Vectors [B, W] whose products with `item_vectors` are the scores."""
        import torch

        ids, length = pad_histories(histories, self.model.max_seq_length)
        with torch.inference_mode():
            device = next(self.model.parameters()).device
            user = self.model(torch.from_numpy(ids).to(device), torch.from_numpy(length).to(device))
            return self.encoder.scoring_users(user)

    def item_vectors(self) -> torch.Tensor:
        """Vectors [M, W] of all items of the problem, or of the warm ones where nothing is known of cold ones."""
        import torch

        with torch.inference_mode():
            return self.encoder.item_vectors()

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        import torch

        user, items, split = self.user_vectors(users, histories), self.item_vectors(), self.encoder.n_warm
        scores = np.full((len(users), self.encoder.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            # two products, so that the bits of warm items do not depend on the number of cold ones
            scores[:, :split] = (user @ items[:split].T).cpu().numpy()
            if len(items) > split:
                scores[:, split:] = (user @ items[split:].T).cpu().numpy()
        return scores
