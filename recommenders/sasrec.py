"""SASRec on whole sequences, with the item encoder in the place of its item table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class SASRec(SequenceModel):
    """Self-attentive sequential recommendation, trained on whole sequences with a full softmax.

    The other options are those of `SequenceModel`.

    Attributes
    ----------
    layers, heads, inner
        Blocks, attention heads, width of the feed-forward layer.
    """

    name: ClassVar[str] = "sasrec"
    code_version: ClassVar[int] = 2
    paper: ClassVar[str] = "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018"

    id_dropout: float = 0.2
    layers: int = 1
    heads: int = 2
    inner: int = 64

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.sasrec import WholeSequenceSASRec

        return WholeSequenceSASRec, {
            "hidden_size": self.dim,
            "n_layers": self.layers,
            "n_heads": self.heads,
            "inner_size": self.inner,
            "hidden_dropout_prob": self.dropout,
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("layers", "heads", "inner"), lambda value: value > 0, "a number above 0")
        if self.dim % self.heads:
            raise UserError(f"{self.name}.dim={self.dim} is not a multiple of {self.name}.heads={self.heads}")
        super().check(request)
