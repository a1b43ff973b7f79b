"""LightGCN: RecBole's network with the item encoder in the place of its item table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recommenders.base import FitRequest
from recommenders.training.options import expect
from recommenders.training.pairwise_model import PairModel


@dataclass(frozen=True)
class LightGCN(PairModel):
    """User and item vectors averaged over the graph of fitted events, trained by pairs.

    A cold item has no neighbours: its vector is its own alone. The other options are those of `PairModel`.

    Attributes
    ----------
    layers
        Steps over the graph.
    """

    name: ClassVar[str] = "lightgcn"
    paper: ClassVar[str] = "He et al., LightGCN: Simplifying and Powering Graph Convolution Network, SIGIR 2020"

    layers: int = 2

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.pairwise import FactorsLightGCN

        return FactorsLightGCN, {
            "embedding_size": self.dim,
            "n_layers": self.layers,
            "reg_weight": 0.0,
            "require_pow": False,
        }

    def check(self, request: FitRequest) -> None:
        """Refuse options that make no sense."""
        expect(self, ("layers",), lambda value: value > 0, "a number above 0")
        super().check(request)
