"""LRURec on whole sequences: linear recurrent units, whose state is all that serving has to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class LRURec(SequenceModel):
    """Linear recurrent units with feed-forward layers: a recurrence that trains as fast as attention.

    The other options are those of `SequenceModel`.

    Attributes
    ----------
    layers, inner
        Blocks, and width of the feed-forward layers.
    """

    name: ClassVar[str] = "lrurec"
    paper: ClassVar[str] = "Yue et al., Linear Recurrent Units for Sequential Recommendation, WSDM 2024"

    layers: int = 2
    inner: int = 128

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.lrurec import WholeSequenceLRURec

        return WholeSequenceLRURec, {
            "hidden_size": self.dim,
            "n_layers": self.layers,
            "inner_size": self.inner,
            "hidden_dropout_prob": self.dropout,
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("layers", "inner"), lambda value: value > 0, "a number above 0")
        super().check(request)
