"""BPR: matrix factorisation by pairs, RecBole's network with the item encoder in the place of its item table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recommenders.training.pairwise_model import PairModel


@dataclass(frozen=True)
class BPR(PairModel):
    """Matrix factorisation, trained to rank a user's items above others.

    The options are those of `PairModel`.
    """

    name: ClassVar[str] = "bpr"
    paper: ClassVar[str] = "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009"

    def network(self) -> tuple[type, dict[str, Any]]:
        """Make the network's class and options."""
        from recommenders.networks.pairwise import FactorsBPR

        return FactorsBPR, {"embedding_size": self.dim}
