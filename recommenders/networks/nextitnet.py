"""RecBole's NextItNet with a state at every position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole.model.sequential_recommender.nextitnet import NextItNet
from torch import Tensor

from recommenders.networks.whole_sequence import FastDropout, WholeSequence
from recommenders.recbole import compat

compat.anomaly_off()  # the import above turned it on


class WholeSequenceNextItNet(WholeSequence, NextItNet):
    """RecBole's layers (residual blocks of two padded convolutions, a linear layer) on whole sequences.

    Item vectors come in times sqrt(d), with dropout.
    """

    def __init__(self, config: Mapping[str, Any], dataset: Any) -> None:
        super().__init__(config, dataset)
        self.dropout = FastDropout(config["dropout_prob"])
        self.use(config)

    def states(self, item_seq: Tensor) -> Tensor:
        """Hidden states [B, L, d]."""
        x = self.item_embedding(item_seq) * self.embedding_size**0.5
        return self.final_layer(self.residual_blocks(self.dropout(x)))
