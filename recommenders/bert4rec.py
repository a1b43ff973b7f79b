"""BERT4Rec: masked item prediction, bidirectional."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class BERT4Rec(SequenceModel):
    """Bidirectional self-attention trained on masked items; the next item is a mask behind the history.

    The other options are those of `SequenceModel`.

    Attributes
    ----------
    layers, heads, inner
        Blocks, attention heads, width of the feed-forward layer.
    mask
        Share of the items of a sequence that a step hides, besides its last one in every other sequence.
    """

    name: ClassVar[str] = "bert4rec"
    paper: ClassVar[str] = "Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoders, CIKM 2019"

    lr: float = 5e-3
    max_epochs: int = 60
    patience: int = 5
    layers: int = 1
    heads: int = 2
    inner: int = 64
    mask: float = 0.3

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.bert4rec import MaskedBERT4Rec

        return MaskedBERT4Rec, {
            "hidden_size": self.dim,
            "n_layers": self.layers,
            "n_heads": self.heads,
            "inner_size": self.inner,
            "hidden_dropout_prob": self.dropout,
            "mask_ratio": self.mask,
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("layers", "heads", "inner"), lambda value: value > 0, "a number above 0")
        expect(self, ("mask",), lambda value: 0 < value < 1, "a share between 0 and 1")
        if self.dim % self.heads:
            raise UserError(f"bert4rec.dim={self.dim} is not a multiple of bert4rec.heads={self.heads}")
        super().check(request)
