"""RecBole's GRU4Rec with a state at every position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole.model.sequential_recommender.gru4rec import GRU4Rec
from torch import Tensor

from recommenders.networks.whole_sequence import WholeSequence
from recommenders.recbole import compat

compat.anomaly_off()  # the import above turned it on


class WholeSequenceGRU4Rec(WholeSequence, GRU4Rec):
    """RecBole's layers (a GRU without bias, a linear layer to the width of the items) on whole sequences.

    Item vectors come in times sqrt(d): at the size they start with, a GRU would hardly see them.
    """

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        self.use(config)

    def states(self, item_seq: Tensor) -> Tensor:
        """Hidden states [B, L, d]."""
        x = self.item_embedding(item_seq) * self.embedding_size**0.5
        return self.dense(self.gru_layers(self.emb_dropout(x))[0])
