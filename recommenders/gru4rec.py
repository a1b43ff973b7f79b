"""GRU4Rec on whole sequences: RecBole's network with the item encoder in the place of its item table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class GRU4Rec(SequenceModel):
    """Recurrent next-item recommendation: a GRU reads the history.

    The other options are those of `SequenceModel`; dropout is on the item vectors that go in.

    Attributes
    ----------
    hidden, layers
        Width and number of the recurrent layers.
    """

    name: ClassVar[str] = "gru4rec"
    paper: ClassVar[str] = "Tan et al., Improved Recurrent Neural Networks for Session-based Recommendations, DLRS 2016"

    lr: float = 3e-3
    hidden: int = 128
    layers: int = 1

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.gru4rec import WholeSequenceGRU4Rec

        return WholeSequenceGRU4Rec, {
            "embedding_size": self.dim,
            "hidden_size": self.hidden,
            "num_layers": self.layers,
            "dropout_prob": self.dropout,
            "loss_type": "CE",
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("hidden", "layers"), lambda value: value > 0, "a number above 0")
        super().check(request)
