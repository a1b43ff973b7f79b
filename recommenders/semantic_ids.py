"""Generative retrieval: the codes of the next item, made from features, are generated one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, cast

from protocols.errors import DataError, UserError
from recommenders.base import FitRequest, FitResult, Range, item_vectors
from recommenders.data.semantic_codes import SemanticCodes, kmeans_clusters, semantic_codes
from recommenders.data.sequences import SequenceBatches
from recommenders.training.options import expect
from recommenders.training.trained_model import Prepared, TrainedModel, tensors


@dataclass(frozen=True)
class SemanticIds(TrainedModel):
    """Items as tuples of codes of their features, quantised by residuals; a decoder generates those of the next item.

    After TIGER: the codes of `levels` rounds of quantisation and a number that tells items of the same codes apart, a
    beam search that follows only codes of items, cold ones included. What differs: the history is encoded by item, as
    in `sasrec`, and the decoder reads its state instead of attending to it. Items outside of the beams score -inf. The
    only fusion is `replace`, with one layer where features have layers. Collisions and use of the codes are in the
    record. There is no term by age. The other options are those of `TrainedModel`.

    Attributes
    ----------
    levels, codes
        Rounds of quantisation, and clusters of each.
    quantizer
        `kmeans`: residual k-means; `rqvae`: the paper's autoencoder, see `recommenders.networks.rqvae`.
    beams
        Prefixes that are followed at each level.
    retrieval
        `generative`, or `dense`: the control with the same parameters, which scores items by products with the sums
        of the vectors of their codes.
    layers, heads, inner
        Blocks of encoder and of decoder, attention heads, width of the feed-forward layers.
    dropout, max_length
        As in `SequenceModel`.
    """

    name: ClassVar[str] = "semantic-ids"
    later_options: ClassVar[tuple[str, ...]] = ("quantizer",)
    only_fusion: ClassVar[str] = "replace"
    space: ClassVar[Mapping[str, Range]] = {
        "lr": TrainedModel.space["lr"],
        "weight_decay": TrainedModel.space["weight_decay"],
        "init_std": TrainedModel.space["init_std"],
        "dropout": Range(0.0, 0.6),
        "codes": Range(8, 256, log=True),
    }
    paper: ClassVar[str] = (
        "Rajput et al., Recommender Systems with Generative Retrieval, NeurIPS 2023; "
        "LIGER, its dense control (arXiv 2411.18814)"
    )

    levels: int = 3
    codes: int = 32
    quantizer: Literal["kmeans", "rqvae"] = "kmeans"
    beams: int = 100
    retrieval: Literal["generative", "dense"] = "generative"
    layers: int = 1
    heads: int = 2
    inner: int = 64
    dropout: float = 0.4
    max_length: int = 50
    freshness: Literal["age", "none"] = "none"

    def fit(self, request: FitRequest) -> FitResult:
        """Train; see `TrainedModel.fit`."""
        result = super().fit(request)
        return replace(result, encoder=None, rescore=None, facts=cast(Any, result.encoder).facts)

    def quantise(self, request: FitRequest) -> SemanticCodes:
        """Make the codes of all items.

        Raises
        ------
        UserError
            If there are no features, or those of all warm items are the same.
        """
        vectors, n_warm = item_vectors(self, request), request.data.n_warm
        if n_warm > 1 and (vectors[:n_warm] == vectors[0]).all():
            raise UserError(
                "semantic-ids: all items have the same features, and would have the same codes",
                remedy="choose another extractor, or sasrec for this row",
            )
        if self.quantizer == "kmeans":
            quantise = kmeans_clusters
        else:
            from recommenders.networks.rqvae import rqvae_clusters as quantise
        return semantic_codes(quantise(vectors, n_warm, self.levels, self.codes, request.seed), n_warm, self.codes)

    def prepare(self, request: FitRequest) -> Prepared:
        """Make the untrained network and its batches.

        Raises
        ------
        DataError
            If no user has two fitted events: there is nothing to predict.
        """
        from recommenders.networks.semantic_ids import CodeEncoder, SemanticIdNetwork, SemanticIdScorer
        from recommenders.training import loop

        data = request.data
        sequences = SequenceBatches(data.sequences, self.max_length, self.batch, request.seed)
        if not sequences.targets:
            raise DataError("no user has two events before the border: a sequence model has nothing to learn from")
        codes = self.quantise(request)
        with loop.seeded(request.seed, 0, request.device):
            encoder = CodeEncoder(codes, self.dim, self.init_std)
            model = SemanticIdNetwork(
                encoder, self.dim, self.layers, self.heads, self.inner, self.dropout, self.max_length,
                self.retrieval == "dense", data.n_warm,
            ).to(request.device)  # fmt: skip

        def batches(epoch: int) -> Iterator[dict[str, Any]]:
            for batch in sequences.epoch(epoch):
                yield tensors({model.ITEM_SEQ: batch.inputs, model.POS_ITEM_ID: batch.targets}, request.device)

        scorer = partial(SemanticIdScorer, model, self.beams)
        return Prepared(model, cast(Any, encoder), batches, sequences.steps, scorer)

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("levels", "codes", "layers", "heads", "inner", "max_length"), lambda v: v > 0, "a number above 0")
        expect(self, ("beams",), lambda value: value >= 20, "a number from 20, the length of the lists")
        expect(self, ("dropout",), lambda value: 0 <= value < 1, "a number from 0 to below 1")
        expect(self, ("freshness",), lambda value: value == "none", "none: codes have no ages")
        if self.dim % self.heads:
            raise UserError(f"semantic-ids.dim={self.dim} is not a multiple of semantic-ids.heads={self.heads}")
        super().check(request)
