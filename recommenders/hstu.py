"""HSTU on whole sequences: pointwise attention without softmax, gated by the item itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.errors import UserError
from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.sequential_model import SequenceModel


@dataclass(frozen=True)
class HSTU(SequenceModel):
    """Hierarchical sequential transduction units, with biases by relative position and none by time.

    The other options are those of `SequenceModel`.

    Attributes
    ----------
    layers, heads
        Units, and attention heads in each.
    """

    name: ClassVar[str] = "hstu"
    paper: ClassVar[str] = (
        "Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative "
        "Recommendations, ICML 2024"
    )

    id_dropout: float = 0.2
    layers: int = 2
    heads: int = 2

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.hstu import WholeSequenceHSTU

        return WholeSequenceHSTU, {
            "hidden_size": self.dim,
            "n_layers": self.layers,
            "n_heads": self.heads,
            "hidden_dropout_prob": self.dropout,
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("layers", "heads"), lambda value: value > 0, "a number above 0")
        if self.dim % self.heads:
            raise UserError(f"hstu.dim={self.dim} is not a multiple of hstu.heads={self.heads}")
        super().check(request)
