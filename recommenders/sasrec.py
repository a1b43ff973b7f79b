"""SASRec on whole sequences, with the item encoder in the place of its item table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from protocols.errors import DataError, UserError
from recommenders.base import FitRequest, FitResult, Recommender, fit_key
from recommenders.sequences import SequenceBatches, pad_histories

if TYPE_CHECKING:
    from recommenders.item_encoder import ItemEncoder
    from recommenders.sasrec_model import WholeSequenceSASRec


@dataclass(frozen=True)
class SASRec(Recommender):
    """Self-attentive sequential recommendation, trained on whole sequences with a softmax over all warm items.

    Attributes
    ----------
    dim, layers, heads, inner
        Width of item vectors and states, blocks, attention heads, width of the feed-forward layer.
    dropout
        After the input and after each sub-layer.
    lr, weight_decay
        Of AdamW.
    batch
        Targets per step, padding included.
    max_length
        Longest history the model sees; longer ones keep their newest items.
    max_epochs, patience
        Early stopping on validation nDCG@10.
    init_std
        Standard deviation of item vector coordinates at the start, of id and content parts alike.
    average
        Decay per step of the parameter average that is validated and kept; 0 turns it off.
    """

    name: ClassVar[str] = "sasrec"
    code_version: ClassVar[int] = 1
    paper: ClassVar[str] = "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018"

    dim: int = 64
    layers: int = 2
    heads: int = 2
    inner: int = 64
    dropout: float = 0.2
    lr: float = 2e-3
    weight_decay: float = 0.1
    batch: int = 1024
    max_length: int = 50
    max_epochs: int = 30
    patience: int = 3
    init_std: float = 0.1
    average: float = 0.0

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
        import torch

        from recommenders import recbole_adapter, training
        from recommenders.item_encoder import ItemEncoder
        from recommenders.sasrec_model import WholeSequenceSASRec

        self._check(request)
        data = request.data
        batches = SequenceBatches(data.sequences, self.max_length, self.batch, request.seed)
        if not batches.targets:
            raise DataError("no user has two events before the border: a sequence model has nothing to learn from")
        features = None if request.fusion == "id" else request.features
        with training.seeded(request.seed, 0, request.device):
            model = recbole_adapter.build(
                WholeSequenceSASRec, data, self._network(), max_length=self.max_length, device=request.device
            )
            encoder = ItemEncoder(data.n_warm, len(data.items), self.dim, request.fusion, features, self.init_std)
        recbole_adapter.inject(model, encoder.to(request.device))

        def interactions(epoch: int):  # noqa: ANN202
            for batch in batches.epoch(epoch):
                yield {
                    model.ITEM_SEQ: torch.from_numpy(batch.inputs).to(request.device),
                    model.POS_ITEM_ID: torch.from_numpy(batch.targets).to(request.device),
                }

        plan = training.Plan(self.lr, self.weight_decay, self.max_epochs, self.patience, average=self.average)
        epochs, curve = training.train(
            model, encoder, interactions, lambda: SequenceScorer(model, encoder), request, plan, fit_key(self, request)
        )
        encoder.check_frozen(features)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return FitResult(SequenceScorer(model, encoder), epochs, count, curve)

    def _network(self) -> dict[str, object]:
        return {
            "hidden_size": self.dim,
            "n_layers": self.layers,
            "n_heads": self.heads,
            "inner_size": self.inner,
            "hidden_dropout_prob": self.dropout,
            "initializer_range": 0.02,
        }

    def _check(self, request: FitRequest) -> None:
        if self.dim % self.heads:
            raise UserError(f"sasrec.dim={self.dim} is not a multiple of sasrec.heads={self.heads}")


class SequenceScorer:
    """Scores of a fitted model: user vector times item table, computed once for all users."""

    def __init__(self, model: WholeSequenceSASRec, encoder: ItemEncoder) -> None:
        self.model, self.encoder = model.eval(), encoder
        encoder.hold_table()

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.problem.Scorer`."""
        import torch

        encoder = self.encoder
        ids, length = pad_histories(histories, self.model.max_seq_length)
        scores = np.full((len(users), encoder.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            device = next(self.model.parameters()).device
            user = self.model(torch.from_numpy(ids).to(device), torch.from_numpy(length).to(device))
            split = encoder.n_warm
            # two products, so that the bits of warm items do not depend on the number of cold ones
            scores[:, :split] = (user @ encoder.weight[1 : split + 1].T).cpu().numpy()
            if encoder.scores_cold and encoder.n_items > split:
                scores[:, split:] = (user @ encoder.weight[split + 1 :].T).cpu().numpy()
        return scores
